/** Leads when it can, and writes under its lease as fast as it can; it does not look whether it was stopped. */
import { writeSync } from "node:fs";
import { openPostgresqlStore } from "../../../src/engine/store/postgresql.ts";
import { StoreConflict, StoreUnavailable } from "../../../src/engine/store/store.ts";

export interface LeaderWord {
  token: number;
  outcome: "written" | "refused";
}

const [address = "", name = "", leaseMs = "200"] = process.argv.slice(2);
const store = await openPostgresqlStore({ address });

async function lead(token: number): Promise<void> {
  const data = new TextEncoder().encode(String(token));
  for (let turn = 0; ; turn++) {
    try {
      await store.commit([
        { kind: "guard", lease: "leader", token },
        { kind: "append", topic: "turns", message: { data } },
      ]);
    } catch (error) {
      if (error instanceof StoreUnavailable) continue;
      if (!(error instanceof StoreConflict)) throw error;
      return tell({ token, outcome: "refused" });
    }
    if (turn === 0) tell({ token, outcome: "written" });
    // As a leader does that was stopped between its look at the clock and its write: renewals fail silently.
    if (turn % 8 === 0) await store.renewLease("leader", token, Number(leaseMs)).catch(() => false);
  }
}

function tell(word: LeaderWord): void {
  writeSync(1, `${JSON.stringify(word)}\n`);
}

for (;;) {
  const lease = await store.acquireLease("leader", name, Number(leaseMs)).catch(() => undefined);
  if (lease?.held) await lead(lease.token);
  else await Bun.sleep(10);
}
