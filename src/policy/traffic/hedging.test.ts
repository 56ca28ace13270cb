import { expect, test } from "bun:test";
import { signalOf } from "../../kit/cancellation.ts";
import type { Work } from "../use/layer.ts";
import { type Answer, Bed, get, shape } from "./fixture-bed.ts";

const hedging = { delayMs: 50, maxExtra: 1, methods: ["GET"] };

interface Try {
  signal: AbortSignal | undefined;
  end(answer: Answer): void;
}

function bench(bed = new Bed()) {
  const tries: Try[] = [];
  const layer = bed.layer({ hedging });
  const work: Work<Answer> = (ended) =>
    new Promise((end) => void tries.push({ signal: signalOf(ended), end }));
  return { bed, tries, layer, work };
}

test("the first good answer wins, the loser is cancelled and its answer let go", async () => {
  const { bed, tries, layer, work } = bench();
  const disposed: Answer[] = [];
  const running = layer.run(get, work, { ...shape, dispose: (answer) => void disposed.push(answer) });
  await bed.pass(60, 10);
  expect(tries).toHaveLength(2);
  tries[1]?.end({ status: 201 });
  expect(await running).toEqual({ status: 201 });
  expect(tries[0]?.signal?.aborted).toBe(true);
  tries[0]?.end({ status: 200 });
  await bed.pass(1);
  expect(disposed).toEqual([{ status: 200 }]);
  expect(bed.clock.pendingTimers).toBe(0);
});

test("a failure waits for the other try; an answer in time needs none", async () => {
  const { bed, tries, layer, work } = bench();
  const running = layer.run(get, work, shape);
  await bed.pass(60, 10);
  tries[1]?.end({ status: 503 });
  await bed.pass(1);
  tries[0]?.end({ status: 200 });
  expect(await running).toEqual({ status: 200 });
  const quick = layer.run(get, async () => ({ status: 200 }), shape);
  expect(await quick).toEqual({ status: 200 });
  await bed.pass(100, 10);
  expect(tries).toHaveLength(2);
});

test("only what is listed and can be repeated is hedged", async () => {
  const { bed, tries, layer, work } = bench();
  layer.run({ ...get, operation: "POST" }, work, shape);
  layer.run(get, work, { ...shape, isRepeatable: false });
  layer.run(get, work, { ...shape, canOverlap: false });
  await bed.pass(200, 10);
  expect(tries).toHaveLength(3);
});
