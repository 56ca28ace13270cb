import { expect, test } from "bun:test";
import { runEffects } from "./effects-crash/run.ts";

const rounds = Number(process.env.MECHA_TEST_ROUNDS ?? 40);
const seed = Number(process.env.MECHA_TEST_SEED ?? 4711);

test(
  `effects happen once each in ${rounds} rounds of kill -9 (MECHA_TEST_SEED=${seed})`,
  async () => {
    const calm = await runEffects({ rounds, seed, crashes: false });
    const crashed = await runEffects({ rounds, seed, crashes: true });
    console.log(`seed ${seed}: ${crashed.kills} kills, ${crashed.effects.length} effects`);
    expect(crashed.state).toEqual(calm.state);
    expect(crashed.effects).toEqual(calm.effects);
    expect(calm.effects).toHaveLength(rounds * 4 * 3);
    expect(crashed.kills).toBe(rounds);
  },
  { timeout: 60_000 + rounds * 5_000 },
);
