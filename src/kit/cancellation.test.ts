import { expect, test } from "bun:test";
import { AttemptEnd, type Cancellation, signalOf } from "./cancellation.ts";

class Caller implements Cancellation {
  isCancelled = false;
  listener: (() => void) | undefined;
  readonly controller = new AbortController();
  signalsMade = 0;

  get signal(): AbortSignal {
    this.signalsMade++;
    return this.controller.signal;
  }

  get cancellation(): Cancellation {
    return this;
  }

  listen(listener: (() => void) | undefined): void {
    this.listener = listener;
  }

  leave(): void {
    this.isCancelled = true;
    this.controller.abort(new Error("left"));
    this.listener?.();
  }
}

test("AttemptEnd tells its listener of its own end, and makes no signal for it", () => {
  const caller = new Caller();
  const ended = new AttemptEnd(caller);
  let heard = 0;
  ended.listen(() => heard++);
  expect(ended.isCancelled).toBe(false);
  ended.end(new Error("late"));
  ended.end(new Error("again"));
  expect([heard, ended.isCancelled, caller.signalsMade]).toEqual([1, true, 0]);
});

test("AttemptEnd tells its listener that the caller has left", () => {
  const caller = new Caller();
  const ended = new AttemptEnd(caller);
  let heard = 0;
  ended.listen(() => heard++);
  caller.leave();
  expect([heard, ended.isCancelled]).toEqual([1, true]);
  ended.listen(undefined);
  expect(caller.listener).toBeUndefined();
});

test("AttemptEnd's signal aborts with the reason of whichever end came first", () => {
  const late = new Error("late");
  const own = new AttemptEnd(new Caller());
  const { signal } = own;
  own.end(late);
  expect(signal.reason).toBe(late);
  const caller = new Caller();
  const callers = new AttemptEnd(caller).signal;
  caller.leave();
  expect(String(callers.reason)).toContain("left");
  const over = new AttemptEnd({});
  over.end(late);
  expect(signalOf(over)?.reason).toBe(late);
});

test("AttemptEnd listens to a signal where there is nothing cheaper", () => {
  const controller = new AbortController();
  const ended = new AttemptEnd({ signal: controller.signal });
  let heard = 0;
  ended.listen(() => heard++);
  controller.abort();
  expect([heard, ended.isCancelled]).toEqual([1, true]);
});

test("signalOf gives signals back as they are", () => {
  const { signal } = new AbortController();
  expect(signalOf(signal)).toBe(signal);
  expect(signalOf(undefined)).toBeUndefined();
});
