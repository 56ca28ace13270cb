import { expect, test } from "bun:test";
import { simulateEffects } from "./effects.ts";

const first = Number(process.env.MECHA_TEST_SEED ?? 1);
const schedules = Number(process.env.MECHA_TEST_SCHEDULES ?? 2000);

test(`effects happen once in ${schedules} schedules of crashes from seed ${first} (MECHA_TEST_SEED, MECHA_TEST_SCHEDULES)`, async () => {
  const { state, effects } = await simulateEffects(first, true);
  expect(Object.keys(state)).toHaveLength(6 * 3 + 2);
  expect(effects).toHaveLength(6 * 3);
  let [disturbances, lostAnswers] = [0, 0];
  for (let seed = first; seed < first + schedules; seed++) {
    const run = await simulateEffects(seed, false);
    disturbances += run.disturbances;
    lostAnswers += run.lostAnswers;
    expect({ seed, state: run.state, effects: run.effects }).toEqual({ seed, state, effects });
  }
  // Or nothing was put to the test.
  expect(disturbances).toBeGreaterThan(schedules);
  expect(lostAnswers).toBeGreaterThan(schedules);
}, 600_000);
