import { expect, test } from "bun:test";
import { makeEvent } from "./events.ts";
import { Facts } from "./facts.ts";

function noted(...types: Parameters<typeof makeEvent>[1][]): Facts {
  const facts = new Facts();
  types.forEach((type, index) => {
    facts.note(makeEvent(0, type, { eventId: index }).event);
  });
  return facts;
}

const started = { case: "executionStarted", value: { name: "w" } } as const;
const scheduled = { case: "taskScheduled", value: { name: "a" } } as const;
const completed = (taskScheduledId: number) =>
  ({ case: "taskCompleted", value: { taskScheduledId } }) as const;

test("second starts and second results say nothing new", () => {
  const facts = noted(started, scheduled);
  expect(facts.accepts(makeEvent(0, started).event)).toBe(false);
  const result = makeEvent(0, completed(1)).event;
  expect(facts.accepts(result)).toBe(true);
  facts.note(result);
  expect(facts.accepts(result)).toBe(false);
});

test("results of steps that never began, or of another kind, are refused", () => {
  const facts = noted(started, scheduled);
  expect(facts.accepts(makeEvent(0, completed(7)).event)).toBe(false);
  const fired = makeEvent(0, { case: "timerFired", value: { timerId: 1 } }).event;
  expect(facts.accepts(fired)).toBe(false);
});

test("a fork goes its own way", () => {
  const facts = noted(started, scheduled);
  const fork = facts.fork();
  fork.note(makeEvent(0, completed(1)).event);
  expect([facts.open.size, fork.open.size]).toEqual([1, 0]);
});

test("suspension ends with the next resumption", () => {
  const facts = noted({ case: "executionSuspended", value: {} });
  expect(facts.isSuspended).toBe(true);
  facts.note(makeEvent(0, { case: "executionResumed", value: {} }).event);
  expect(facts.isSuspended).toBe(false);
});
