import { expect, test } from "bun:test";
import { startService } from "../services.ts";
import { type CrashOptions, runWorkflowCrash } from "./workflow-crash/run.ts";

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 6);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
/** Of each of the two tests. */
const workflows = 500;
const steps = 10;
const timeout = 300_000 + kills * 15_000;

async function check(where: string, options: Pick<CrashOptions, "runtimes" | "server">): Promise<void> {
  const all = { workflows, steps, kills, seed, killsWorkers: true, ...options };
  const report = await runWorkflowCrash(all);
  const { executions, repeated, victims, faults, finished } = report;
  console.log(
    `${where}, seed ${seed}: killed ${JSON.stringify(victims)}, ${executions} executions, ${repeated} of them in flight at a kill`,
  );
  expect(faults).toEqual([]);
  expect(finished).toBe(workflows);
  expect(victims.runtime).toBeGreaterThan(0);
}

test(
  `${workflows} workflows of ${steps} steps survive ${kills} kills of runtime and worker (MECHA_TEST_SEED=${seed})`,
  () => check("SQLite", {}),
  { timeout },
);

test(
  `the same on PostgreSQL with three runtimes: one of them, a worker or the server is killed (MECHA_TEST_SEED=${seed})`,
  async () => {
    const server = await startService("postgresql");
    try {
      await check("PostgreSQL", { runtimes: 3, server });
    } finally {
      await server.stop();
    }
  },
  { timeout },
);
