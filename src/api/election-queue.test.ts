import { expect, test } from "bun:test";
import type { ElectionEvent } from "../engine/leases/candidate.ts";
import { ElectionQueue } from "./election-queue.ts";

const at = (term: number) => ({ leader: "a", term, fencingToken: term * 10 });
const leading = (term: number): ElectionEvent => ({ kind: "leading", ...at(term), validForMs: 1 });
const renewed = (term: number): ElectionEvent => ({ kind: "renewed", ...at(term), validForMs: 2 });
const lost = (term: number): ElectionEvent => ({ kind: "lost", ...at(term), reason: "r" });

async function readAfter(events: ElectionEvent[]): Promise<string[]> {
  const queue = new ElectionQueue(new AbortController().signal);
  for (const event of events) queue.push(event);
  queue.end();
  const seen: string[] = [];
  for await (const { kind, term } of queue) seen.push(`${kind} ${term}`);
  return seen;
}

test("ElectionQueue keeps for a slow reader what still holds, and that it was lost before", async () => {
  expect(await readAfter([leading(1), renewed(1), renewed(1)])).toEqual(["leading 1"]);
  expect(await readAfter([renewed(1), lost(1), leading(2), renewed(2)])).toEqual(["lost 1", "leading 2"]);
  expect(await readAfter([leading(1), lost(1), leading(2), lost(2)])).toEqual(["lost 1", "lost 2"]);
});

test("ElectionQueue ends with its reader's signal, and says so when the reader stops", async () => {
  const leave = new AbortController();
  const left = new ElectionQueue(leave.signal);
  leave.abort();
  await left.ended;
  const stopped = new ElectionQueue(new AbortController().signal);
  stopped.push(leading(1));
  for await (const _ of stopped) break;
  await stopped.ended;
});
