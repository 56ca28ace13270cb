/** Another process on the same store: consumes until it is told to stop, and competes for a lease. */
import { writeSync } from "node:fs";
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";

const [folder = "", name = ""] = process.argv.slice(2);
const store = await openSqliteStore({ folder });
await store.ensureGroup("orders", "g", "earliest");
store.watch("keys:stop", async () => {
  if (await store.get("stop", "now")) process.exit(0);
});
const lease = await store.acquireLease("leader", name, 60_000);
writeSync(1, `${JSON.stringify({ leader: lease.held })}\n`);
for (;;) {
  const deliveries = await store.claim({
    topic: "orders",
    group: "g",
    owner: name,
    max: 5,
    leaseMs: 60_000,
    waitMs: 60_000,
  });
  await Promise.all(
    deliveries.map((delivery) =>
      store.commit([
        { kind: "ack", delivery },
        { kind: "put", space: "handled", key: String(delivery.offset), value: delivery.data, ifAbsent: true },
        { kind: "append", topic: "by", message: { data: new TextEncoder().encode(name) } },
      ]),
    ),
  );
}
