import { expect, test } from "bun:test";
import { simulate } from "./run.ts";

const first = Number(process.env.MECHA_TEST_SEED ?? 1);
const seeds = Number(process.env.MECHA_TEST_SEEDS ?? 300);

test(`three hosts keep every promise, seeds ${first} to ${first + seeds - 1} (MECHA_TEST_SEED, MECHA_TEST_SEEDS)`, async () => {
  let disturbances = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const run = await simulate({ seed });
    disturbances += run.disturbances;
    expect({ seed, faults: run.faults, again: `npm run simulate -- --seeds 1 --seed ${seed}` }).toEqual({
      ...{ seed, faults: [], again: expect.any(String) },
    });
  }
  // Or nothing was put to the test.
  expect(disturbances).toBeGreaterThan(seeds);
}, 600_000);

test("the same seed is the same run", async () => {
  const [one, same, other] = [
    await simulate({ seed: 7 }),
    await simulate({ seed: 7 }),
    await simulate({ seed: 8 }),
  ];
  expect(same).toEqual(one);
  expect(other.trace).not.toBe(one.trace);
});
