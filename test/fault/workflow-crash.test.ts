import { expect, test } from "bun:test";
import { runWorkflowCrash } from "./workflow-crash/run.ts";

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 4);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));

test(
  `100 workflows of 10 steps survive ${kills} times kill -9 of the runtime (MECHA_TEST_SEED=${seed})`,
  async () => {
    const report = await runWorkflowCrash({ workflows: 100, steps: 10, kills, seed });
    const { executions, repeated } = report;
    console.log(
      `seed ${seed}: ${kills} kills, ${executions} executions, ${repeated} of them in flight at a kill`,
    );
    expect(report.faults).toEqual([]);
    expect(report.finished).toBe(100);
    // A worker has so many items in hand at a kill.
    expect(repeated).toBeLessThanOrEqual(kills * 100);
  },
  { timeout: 180_000 + kills * 10_000 },
);
