import { expect, test } from "bun:test";
import { Mongo } from "../../src/components/clients/mongodb.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { until } from "../../src/testing/index.ts";
import { startMongo } from "../contract/mongodb.ts";
import { isDone } from "./is-done.ts";

interface Monitored {
  topology: { s: { servers: Map<string, { monitor: { monitorId: { stop(): void } } }> } };
}

// Seen about once in a hundred kills of a server on a busy machine: the driver's look at it did not end any more.
test("a client that has stopped looking at its server is replaced when the server is back", async () => {
  const { server, stop } = await startMongo();
  const mongo = await Mongo.open({
    ...{ url: `mongodb://127.0.0.1:${server.port}`, database: "d", collection: "c" },
    ...{ timeoutMs: 1_000, writeConcern: 1, readConcern: "local", edges: realEdges() },
  });
  const read = () => mongo.ask("read", () => mongo.documents.findOne({}));
  const isThere = () => isDone(read());
  expect(await isThere()).toBe(true);
  const first = mongo.client;
  await server.kill();
  await until(() => findsNone(read()), "the loss is noticed");
  const { servers } = (first as unknown as Monitored).topology.s;
  for (const { monitor } of servers.values()) monitor.monitorId.stop();
  // A look that was under way has ended, too.
  await until(() => findsNone(read()), "it gives up");
  await server.start();
  await until(isThere, "it is back", 20_000);
  expect(mongo.client === first).toBe(false);
  await mongo.close();
  await stop();
}, 60_000);

/** Whether the driver knew of no server. */
function findsNone(reading: Promise<unknown>): Promise<boolean> {
  return reading.then(
    () => false,
    ({ cause }: Error) => (cause as Error).name === "MongoServerSelectionError",
  );
}
