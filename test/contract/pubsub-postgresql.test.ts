import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { pubsubOnPostgresql } from "../../src/engine/defaults/pubsub-postgresql.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startPostgresql, type TestPostgresql } from "./postgresql.ts";
import { pubsubContract, subscription } from "./pubsub.ts";

let server: TestPostgresql;
beforeAll(async () => {
  server = await startPostgresql();
}, 60_000);
afterAll(() => server.stop(), 60_000);

let schemas = 0;
const open = (items: Record<string, string> = {}) =>
  pubsubOnPostgresql.open(
    server.options(pubsubOnPostgresql, {
      redeliverInterval: "10ms",
      redeliverIntervalMax: "50ms",
      schema: `bus_${schemas}`,
      ...items,
    }),
    componentHost(),
  );

pubsubContract(
  "pubsub.postgresql",
  { features: ["MESSAGE_TTL", "BULK_PUBSUB"], isDurable: true, keepsOrder: false },
  async () => {
    schemas++;
    let pubsub = await open();
    return {
      pubsub,
      async reopen() {
        await pubsub.close();
        await server.server.kill();
        await server.server.start();
        pubsub = await open();
        return pubsub;
      },
      close: () => pubsub.close(),
    };
  },
);

describe("pubsub.postgresql", () => {
  const send = (pubsub: Awaited<ReturnType<typeof open>>, text: string) =>
    pubsub.publish({ topic: "topic", data: Buffer.from(text), contentType: "", metadata: {} });

  test("two runtimes share the messages of a group, whatever their components are called", async () => {
    schemas++;
    const items = server.options<never>(pubsubOnPostgresql, { schema: `bus_${schemas}` });
    const all = await Promise.all(
      ["one", "two"].map((name) => pubsubOnPostgresql.open(items, componentHost({ name }))),
    );
    const seen: string[][] = [[], []];
    for (const [index, pubsub] of all.entries())
      await pubsub.subscribe(
        subscription({ concurrencyMax: 1 }),
        async ({ data }) => void seen[index]?.push(Buffer.from(data).toString()),
      );
    for (const [index, pubsub] of all.entries())
      await Promise.all(Array.from({ length: 50 }, (_, number) => send(pubsub, `${index}:${number}`)));
    await eventually("all are there", () => seen.flat().length >= 100);
    expect(new Set(seen.flat()).size).toBe(100);
    for (const pubsub of all) await pubsub.close();
  });

  test("removes what all groups have handled", async () => {
    schemas++;
    const pubsub = await open();
    let handled = 0;
    await pubsub.subscribe(subscription(), async () => void handled++);
    await Promise.all(Array.from({ length: 20 }, (_, number) => send(pubsub, `${number}`)));
    await eventually("all are handled", () => handled === 20);
    const left = async () => {
      const [row] = await server.ask<{ n: number }>(`SELECT count(*)::int AS n FROM bus_${schemas}.messages`);
      return row?.n;
    };
    await eventually("they are removed", async () => (await left()) === 0, 30_000);
    await pubsub.close();
  }, 60_000);

  test("says why it can not open", async () => {
    const refused = await open({
      connectionString: "postgresql://me@127.0.0.1:1/db",
      timeout: "300ms",
    }).catch((e) => e);
    expect(refused.message).toContain("127.0.0.1:1");
    const pairs = await open({ connectionString: "host=localhost user=me" }).catch((e) => e);
    expect(pairs.message).toBe(
      "connectionString is no URL such as postgresql://user:password@host:port/database",
    );
    const schema = await open({ schema: "No Schema" }).catch((e) => e);
    expect(schema.message).toContain("schema");
  });
});
