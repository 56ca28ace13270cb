import { expect, test } from "bun:test";
import { createGate } from "./limit.ts";

const never = new AbortController().signal;

test("createGate() admits up to its places and then in order", async () => {
  const gate = createGate(2, 10);
  expect(gate.enter(never)).toBeUndefined();
  expect(gate.enter(never)).toBeUndefined();
  const order: number[] = [];
  const third = gate.enter(never)?.then(() => order.push(3));
  const fourth = gate.enter(never)?.then(() => order.push(4));
  gate.leave();
  await third;
  expect(order).toEqual([3]);
  gate.leave();
  await fourth;
  expect(order).toEqual([3, 4]);
  gate.leave();
  gate.leave();
  expect(gate.enter(never)).toBeUndefined();
});

test("createGate() refuses beyond its queue", async () => {
  const gate = createGate(1, 1);
  gate.enter(never);
  const waiting = gate.enter(never);
  await expect(gate.enter(never)).rejects.toMatchObject({ code: "ERR_CALLS_LIMIT", http: 429 });
  gate.leave();
  await waiting;
});

test("createGate() lets a caller that has gone out of the queue", async () => {
  const gate = createGate(1, 2);
  gate.enter(never);
  const gone = new AbortController();
  const first = gate.enter(gone.signal);
  const second = gate.enter(never);
  gone.abort();
  await expect(first).rejects.toMatchObject({ code: "ERR_CALLS_LIMIT" });
  gate.leave();
  await second;
});
