/** Writes one numbered key after the other for as long as it lives and tells each outcome. */
import { writeSync } from "node:fs";
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";
import { StoreUnavailable } from "../../../src/engine/store/store.ts";

export interface WriteEntry {
  key: string;
  outcome: "written" | StoreUnavailable["reason"];
  tookMs: number;
}

const [folder = "", name = ""] = process.argv.slice(2);
const store = await openSqliteStore({ folder, busyTimeoutMs: 200 });

async function writeLane(lane: number): Promise<void> {
  for (let index = 0; ; index++) {
    const key = `${name}/${lane}/${index}`;
    const startMs = performance.now();
    let outcome: WriteEntry["outcome"] = "written";
    try {
      await store.commit([{ kind: "put", space: "s", key, value: new Uint8Array(2000) }]);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      outcome = error.reason;
    }
    const entry: WriteEntry = { key, outcome, tookMs: performance.now() - startMs };
    writeSync(1, `${JSON.stringify(entry)}\n`);
  }
}

await Promise.all([0, 1, 2, 3].map(writeLane));
