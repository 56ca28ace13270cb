/** Fills the disk under a store, makes room again, and tells as JSON what happened. Runs where the disk is tiny. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkStore } from "../../../src/engine/store/maintenance.ts";
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";
import { type Store, StoreUnavailable } from "../../../src/engine/store/store.ts";

export interface DiskReport {
  acknowledgedBefore: number;
  refusals: string[];
  messages: string[];
  readsWhileFull: boolean;
  acknowledgedAfter: number;
  lost: string[];
  problems: string[];
}

const [mode, mount = ""] = process.argv.slice(2);
const folder = join(mount, "store");
const ballast = join(mount, "ballast");
const acknowledged: string[] = [];
const report: DiskReport = {
  acknowledgedBefore: 0,
  refusals: [],
  messages: [],
  readsWhileFull: true,
  acknowledgedAfter: 0,
  lost: [],
  problems: [],
};

if (mode === "tmpfs") writeFileSync(ballast, new Uint8Array(3 * 1024 * 1024));
const store = await openSqliteStore({ folder });
await fill(store);
report.acknowledgedBefore = acknowledged.length;
for (const key of acknowledged) report.readsWhileFull &&= (await store.get("s", key)) !== undefined;
makeRoom();
for (let index = 0; index < 10; index++) await put(store, `after ${index}`, 10_000);
report.acknowledgedAfter = acknowledged.length - report.acknowledgedBefore;
await store.close();

const reopened = await openSqliteStore({ folder });
for (const key of acknowledged) if (!(await reopened.get("s", key))) report.lost.push(key);
await reopened.close();
report.problems = (await checkStore(folder)).problems;
console.log(JSON.stringify(report));
process.exit(0);

/** Large and small writes side by side until they are refused for good. */
async function fill(target: Store): Promise<void> {
  for (let index = 0; report.refusals.length < 30 && index < 5000; index++) {
    const sizes = [30_000, 100, 5_000];
    await Promise.all(sizes.map((size, lane) => put(target, `before ${index} ${lane}`, size)));
  }
}

async function put(target: Store, key: string, size: number): Promise<void> {
  try {
    await target.commit([{ kind: "put", space: "s", key, value: new Uint8Array(size).fill(7) }]);
    acknowledged.push(key);
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    report.refusals.push(error.reason);
    report.messages.push(error.message);
  }
}

function makeRoom(): void {
  if (mode === "tmpfs") {
    rmSync(ballast);
    return;
  }
  const { exitCode } = Bun.spawnSync(["prlimit", "--pid", String(process.pid), "--fsize=unlimited"]);
  if (exitCode !== 0) throw new Error("prlimit could not lift the limit of file size");
}
