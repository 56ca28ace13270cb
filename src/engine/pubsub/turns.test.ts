import { expect, test } from "bun:test";
import { Turns } from "./turns.ts";

test("Turns.run() keeps order and survives failures", async () => {
  const turns = new Turns();
  const order: number[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turns.run(async () => {
    await gate.promise;
    order.push(1);
    throw new Error("first");
  });
  const second = turns.run(async () => order.push(2));
  gate.resolve();
  await expect(first).rejects.toThrow("first");
  await second;
  expect(order).toEqual([1, 2]);
});
