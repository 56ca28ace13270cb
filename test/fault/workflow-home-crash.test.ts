import { Database, SQLiteError } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, rmSync, watch } from "node:fs";
import { join } from "node:path";
import { decodeMetadata } from "../../src/engine/workflow/metadata-row.ts";
import type { InstanceRecord } from "../../src/engine/workflow/record.ts";
import { until } from "../../src/testing/index.ts";
import { runWorkflowCrash } from "./workflow-crash/run.ts";

// Histories in a state store of the user's, all else in the engine's: the runtime is killed right after a write to the
// first, when the second has not heard of it yet.

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 4);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const workflows = 400;
const runsMax = 4;
const actorType = "dapr.internal.default.crash.workflow";

test(
  `workflows in state.sqlite survive ${kills} times kill -9 between the stores (MECHA_TEST_SEED=${seed})`,
  async () => {
    // A run whose kills all missed the moment between the stores proves nothing: another one, then.
    let between = 0;
    for (let run = seed; between === 0 && run < seed + runsMax; run++) between = await survive(run);
    expect(between).toBeGreaterThan(0);
  },
  { timeout: (180_000 + kills * 10_000) * 2 },
);

/** Answers how many turns a kill has left in one store alone. */
async function survive(run: number): Promise<number> {
  let between = 0;
  const report = await runWorkflowCrash({
    workflows,
    pauseMaxMs: 500,
    steps: 10,
    kills,
    seed: run,
    home: {
      resource: (folder) => component(join(folder, "state.db")),
      beforeKill: (folder) => written(folder),
      afterKill: (folder) => {
        between += unheard(folder);
      },
    },
  });
  console.log(
    `seed ${run}: ${kills} kills, ${between} turns saved in one store alone, ${report.executions} executions, ${report.repeated} of them in flight at a kill`,
  );
  expect(report.faults).toEqual([]);
  expect(report.finished).toBe(workflows);
  return between;
}

function component(file: string): string {
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: state.sqlite
  version: v1
  metadata:
    - { name: connectionString, value: "${file}" }
    - { name: actorStateStore, value: "true" }
`;
}

/** The next turn that is saved in the user's store. At the end of all workflows there may be none. */
async function written(folder: string): Promise<void> {
  const log = join(folder, "state.db-wal");
  await until(() => existsSync(log) && hasTurns(folder), "the first turn", 30_000);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, 5_000);
    const watcher = watch(log, done);
    function done(): void {
      clearTimeout(timer);
      watcher.close();
      resolve();
    }
  });
}

/** The files are being written: a copy of them may lack the table still, or be torn. */
function hasTurns(folder: string): boolean {
  try {
    return turnsIn(folder).size > 0;
  } catch (error) {
    if (error instanceof SQLiteError) return false;
    throw error;
  }
}

/** How many instances have a saved turn that the engine's store does not know. */
function unheard(folder: string): number {
  const turns = turnsIn(folder);
  const copy = mkdtempSync(join(folder, "look-"));
  const engine = opened(join(folder, "data", "mecha.db"), copy);
  const records = engine.query<{ key: string; value: Uint8Array }, [string]>(
    "SELECT key, value FROM keys WHERE space = ?",
  );
  for (const { key, value } of records.all("workflow:default:crash")) {
    const { home } = JSON.parse(Buffer.from(value).toString("utf8")) as InstanceRecord;
    if (turns.get(key) === home?.turn) turns.delete(key);
  }
  engine.close();
  rmSync(copy, { recursive: true });
  return turns.size;
}

/** The last saved turn of each instance, as the user's store has it. */
function turnsIn(folder: string): Map<string, string> {
  const copy = mkdtempSync(join(folder, "look-"));
  const turns = new Map<string, string>();
  const rows = opened(join(folder, "state.db"), copy);
  const select = rows.query<{ key: string; value: string }, []>(
    "SELECT key, value FROM state WHERE key LIKE '%||metadata'",
  );
  for (const { key, value } of select.all()) {
    const [, type, instanceId = ""] = key.split("||");
    const { note } = decodeMetadata(Buffer.from(value, "base64"));
    if (type === actorType && note !== undefined) turns.set(instanceId, note.turn);
  }
  rows.close();
  rmSync(copy, { recursive: true });
  return turns;
}

/** A copy: the files themselves stay as the kill has left them. */
function opened(file: string, folder: string): Database {
  const name = file.slice(file.lastIndexOf("/") + 1);
  for (const ending of ["", "-wal"]) {
    if (existsSync(file + ending)) copyFileSync(file + ending, join(folder, name + ending));
  }
  return new Database(join(folder, name));
}
