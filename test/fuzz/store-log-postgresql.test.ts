import { test } from "bun:test";
import { seededRandom } from "../../src/edges/simulated.ts";
import { checkPostgresqlStore } from "../../src/engine/store/postgresql/maintenance.ts";
import { openPostgresqlStore } from "../../src/engine/store/postgresql.ts";
import { startService } from "../services.ts";
import { type LogHome, runOnce } from "./store-log/run.ts";

const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const runs = Number(process.env.MECHA_TEST_RUNS ?? 4);

test(`a topic's groups on PostgreSQL do what a plain model says (MECHA_TEST_SEED=${seed})`, async () => {
  const server = await startService("postgresql");
  const homeOf = (run: number): LogHome => {
    const address = `${server.details.url}?schema=fuzz_${run}`;
    return {
      open: (clock) => openPostgresqlStore({ address, clock, time: "clock" }),
      check: async () => (await checkPostgresqlStore(address)).problems,
      remove: async () => undefined,
    };
  };
  try {
    for (let run = 0; run < runs; run++) {
      await runOnce(seededRandom(seed + run), `seed ${seed}, run ${run}`, homeOf(run));
    }
  } finally {
    await server.stop();
  }
}, 180_000);
