import { expect, test } from "bun:test";
import { runCrashRounds } from "./store-crash/run.ts";

const rounds = Number(process.env.MECHA_TEST_ROUNDS ?? 50);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));

test(
  `the store loses nothing it acknowledged in ${rounds} rounds of kill -9 (MECHA_TEST_SEED=${seed})`,
  async () => {
    const report = await runCrashRounds(rounds, seed);
    console.log(`seed ${seed}: ${report.kills} kills, ${report.acknowledged} acknowledged operations`);
    expect(report.faults).toEqual([]);
    expect(report.rounds).toBe(rounds);
    expect(report.acknowledged).toBeGreaterThan(rounds * 10);
  },
  { timeout: 60_000 + rounds * 5_000 },
);
