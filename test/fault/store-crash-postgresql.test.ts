import { expect, test } from "bun:test";
import { startService } from "../services.ts";
import { postgresqlHome } from "./store-crash/home.ts";
import { runCrashRounds } from "./store-crash/run.ts";

const rounds = Number(process.env.MECHA_TEST_ROUNDS ?? 6);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));

test(
  `PostgreSQL loses nothing acknowledged when it or a runtime is killed, ${rounds} rounds (MECHA_TEST_SEED=${seed})`,
  async () => {
    const server = await startService("postgresql");
    try {
      const report = await runCrashRounds(rounds, seed, postgresqlHome(server));
      console.log(
        `seed ${seed}: ${report.kills} kills, ${report.serverKills} of the server, ${report.acknowledged} acknowledged`,
      );
      expect(report.faults).toEqual([]);
      expect(report.rounds).toBe(rounds);
      expect(report.serverKills).toBeGreaterThan(0);
      expect(report.acknowledged).toBeGreaterThan(rounds * 10);
    } finally {
      await server.stop();
    }
  },
  { timeout: 120_000 + rounds * 10_000 },
);
