import { test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../../src/edges/simulated.ts";
import { checkStore } from "../../src/engine/store/maintenance.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { type LogHome, runOnce } from "./store-log/run.ts";

const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const runs = Number(process.env.MECHA_TEST_RUNS ?? 6);

test(`a topic's groups do what a plain model says (MECHA_TEST_SEED=${seed})`, async () => {
  for (let run = 0; run < runs; run++) {
    await runOnce(seededRandom(seed + run), `seed ${seed}, run ${run}`, await sqliteHome());
  }
}, 120_000);

async function sqliteHome(): Promise<LogHome> {
  const folder = await mkdtemp(join(tmpdir(), "mecha-fuzz-log-"));
  return {
    open: (clock) => openSqliteStore({ folder, clock }),
    check: async () => (await checkStore(folder)).problems,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
