/** Campaigns for one group and tells what happens; as a leader it writes under its fencing token. */
import { writeSync } from "node:fs";
import { realClock } from "../../../src/edges/clock.ts";
import { Candidate } from "../../../src/engine/leases/candidate.ts";
import { leaseTimes } from "../../../src/engine/leases/elections.ts";
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";
import { StoreConflict, StoreUnavailable } from "../../../src/engine/store/store.ts";

export type ChildEvent =
  | { kind: "ready" }
  | { kind: "leading" | "lost"; term: number; token: number }
  | { kind: "refused"; token: number };

export const lease = "singleton:test";
export const topic = "writes";

const [folder = "", leader = "", leaseMs = ""] = process.argv.slice(2);

function tell(event: ChildEvent): void {
  writeSync(1, `${JSON.stringify(event)}\n`);
}

async function main(): Promise<void> {
  const store = await openSqliteStore({ folder });
  const write = async (term: number, token: number): Promise<void> => {
    const data = Buffer.from(JSON.stringify({ term, token }));
    try {
      await store.commit([
        { kind: "guard", lease, token },
        { kind: "append", topic, message: { data } },
      ]);
    } catch (error) {
      if (error instanceof StoreConflict) tell({ kind: "refused", token });
      else if (!(error instanceof StoreUnavailable)) throw error;
    }
  };
  const candidate = new Candidate({
    store,
    clock: realClock,
    name: lease,
    leader,
    times: leaseTimes(Number(leaseMs)),
    onEvent({ kind, term, fencingToken: token }) {
      if (kind !== "leading" && kind !== "lost") return;
      tell({ kind, term, token });
      // A leader that does not know its time is over: only the store can tell it.
      if (kind === "lost") void write(term, token);
    },
    onError: (error) => console.error(leader, error),
  });
  candidate.start();
  tell({ kind: "ready" });
  for (;;) {
    const leadership = candidate.leadership;
    if (leadership !== undefined) await write(leadership.term, leadership.fencingToken);
    await Bun.sleep(5);
  }
}

if (import.meta.main) await main();
