import { expect, test } from "bun:test";
import { TurnLock } from "./turn-lock.ts";

const never = new AbortController().signal;

test("turns come in the order they were asked for", async () => {
  const lock = new TurnLock(0);
  const order: number[] = [];
  expect(lock.enter("a", never)).toBeUndefined();
  const waiting = [1, 2, 3].map(async (turn) => {
    await lock.enter("a", never);
    order.push(turn);
    lock.leave();
  });
  expect(lock.isFree).toBe(false);
  lock.leave();
  await Promise.all(waiting);
  expect(order).toEqual([1, 2, 3]);
  expect(lock.isFree).toBe(true);
});

test("the running chain nests, others wait until its last call has ended", async () => {
  const lock = new TurnLock(3);
  lock.enter("chain", never);
  expect(lock.enter("chain", never)).toBeUndefined();
  let isIn = false;
  const other = lock.enter("other", never)?.then(() => {
    isIn = true;
  });
  lock.leave();
  await Bun.sleep(0);
  expect(isIn).toBe(false);
  lock.leave();
  await other;
  expect(lock.isNested("other")).toBe(true);
  expect(lock.isNested("chain")).toBe(false);
});

test("a chain is only so deep", () => {
  const lock = new TurnLock(2);
  lock.enter("chain", never);
  lock.enter("chain", never);
  expect(() => lock.enter("chain", never)).toThrow("maximum stack depth exceeded");
});

test("who gives up waiting holds nobody up", async () => {
  const lock = new TurnLock(0);
  const stop = new AbortController();
  lock.enter(undefined, never);
  const given = lock.enter(undefined, stop.signal);
  const next = lock.enter(undefined, never);
  stop.abort(new Error("gone"));
  await expect(given).rejects.toThrow("gone");
  lock.leave();
  await next;
  lock.leave();
  expect(lock.isFree).toBe(true);
});
