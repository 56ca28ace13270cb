import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { startService } from "../services.ts";

// The event of a write is published when the write is committed, and only then (dapr-api.md §7.7).

interface OrderEvent {
  id: string;
  data: unknown;
  [attribute: string]: unknown;
}

const cleanup = new Cleanup();
afterEach(() => cleanup.run(), 60_000);

let events: OrderEvent[];
let app: FakeApp;
let mecha: TestMecha;

beforeEach(async () => {
  events = [];
  app = await fakeApp({
    handlers: {
      "POST /orders": ({ json }) => {
        events.push(json() as OrderEvent);
        return {};
      },
    },
    otherwise: () => ({ status: 404 }),
  });
  cleanup.add(() => app.close());
});

const subscription = (pubsub: string) => `
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: orders }
spec: { pubsubname: ${pubsub}, topic: orders, routes: { default: /orders } }
---
`;

function store(type: string, pubsub: string, items: Record<string, string> = {}): string {
  const all = { outboxPublishPubsub: pubsub, outboxPublishTopic: "orders", ...items };
  const metadata = Object.entries(all).map(
    ([name, value]) => `{ name: ${name}, value: ${JSON.stringify(value)} }`,
  );
  return `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: shop }
spec: { type: ${type}, version: v1, metadata: [${metadata.join(", ")}] }
---
`;
}

async function start(resources: string): Promise<void> {
  mecha = await startMecha({ apps: [{ appId: "shop", app }], resources });
  cleanup.add(() => mecha.stop());
}

async function transact(operations: object[], metadata: Record<string, string> = {}): Promise<number> {
  const body = { operations, metadata };
  return (await mecha.http("shop", "POST /v1.0/state/shop/transaction", { body })).status;
}

const upsert = (key: string, value: unknown, rest: object = {}) => ({
  operation: "upsert",
  request: { key, value, metadata: { contentType: "application/json" }, ...rest },
});

const dataOf = () => events.map(({ data }) => data);

const pubsubs = [
  ["the default pub/sub", "pubsub", async () => ""],
  [
    "pubsub.redis",
    "redis",
    async () => {
      const server = await startService("redis");
      cleanup.add(() => server.stop());
      return `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: redis }
spec: { type: pubsub.redis, version: v1, metadata: [{ name: redisHost, value: "127.0.0.1:${server.port}" }] }
---
`;
    },
  ],
] as const;

describe.each(pubsubs)("over %s", (_, pubsub, component) => {
  test.each(["state.in-memory", "state.sqlite"])("%s: an upsert is told, a deletion is not", async (type) => {
    const folder = cleanup.folder();
    const items = type === "state.sqlite" ? { connectionString: `${folder}/state.db` } : undefined;
    await start(store(type, pubsub, items) + (await component()) + subscription(pubsub));
    const operations = [
      upsert("1", { id: 1 }),
      { operation: "delete", request: { key: "2" } },
      upsert("3", "text", { metadata: { contentType: "text/plain" } }),
    ];
    expect(await transact(operations)).toBe(204);
    await eventually(() => expect(events).toHaveLength(2));
    const sorted = [...events].sort((one, other) => (typeof one.data > typeof other.data ? 1 : -1));
    expect(sorted[0]).toMatchObject({
      ...{ data: { id: 1 }, source: "shop", topic: "orders", pubsubname: pubsub, specversion: "1.0" },
      ...{ datacontenttype: "application/json", type: "com.dapr.event.sent" },
    });
    expect(sorted[1]?.data).toBe("text");
    expect(new Set(events.map(({ id }) => id)).size).toBe(2);
    for (const { id } of events) expect(id).toStartWith("outbox-");
    const { text } = await mecha.http("shop", "GET /v1.0/state/shop/1");
    expect(JSON.parse(text)).toEqual({ id: 1 });
  });

  test("what is not committed is not told", async () => {
    const items = { outboxDiscardWhenMissingState: "true" };
    await start(store("state.in-memory", pubsub, items) + (await component()) + subscription(pubsub));
    await transact([upsert("a", 1)]);
    expect(await transact([upsert("b", 2), upsert("a", 3, { etag: "wrong" })])).toBe(500);
    expect(await transact([upsert("c", 4)])).toBe(204);
    await eventually(() => expect(dataOf().sort()).toEqual([1, 4]));
    // Until the runtime has given both others up.
    const dropped = () => mecha.log().split("has no committed state: dropped").length - 1;
    await eventually(() => expect(dropped()).toBe(2), 40_000);
    expect(dataOf().sort()).toEqual([1, 4]);
  });
});

test("an event says what its projection says, with its own attributes", async () => {
  await start(store("state.in-memory", "pubsub") + subscription("pubsub"));
  const attributes = {
    "cloudevent.type": "order.placed",
    "cloudevent.subject": "1",
    "cloudevent.id": "mine",
  };
  const operations = [
    upsert("1", { id: 1, secret: "x" }, { metadata: { contentType: "application/json", ...attributes } }),
    upsert("1", { id: 1 }, { metadata: { contentType: "application/json", "outbox.projection": "true" } }),
  ];
  expect(await transact(operations)).toBe(204);
  await eventually(() => expect(events).toHaveLength(1));
  expect(events[0]).toMatchObject({ data: { id: 1 }, type: "order.placed", subject: "1" });
  expect(events[0]?.id).toStartWith("outbox-");
  const { text } = await mecha.http("shop", "GET /v1.0/state/shop/1");
  expect(JSON.parse(text)).toEqual({ id: 1, secret: "x" });
});

test("values that are encrypted in the store are told as they are", async () => {
  const primaryEncryptionKey = "00112233445566778899aabbccddeeff";
  await start(store("state.in-memory", "pubsub", { primaryEncryptionKey }) + subscription("pubsub"));
  expect(await transact([upsert("1", { id: 1 })])).toBe(204);
  await eventually(() => expect(dataOf()).toEqual([{ id: 1 }]));
});

test("a pub/sub that is not there fails the transaction, and nothing is written", async () => {
  await start(store("state.in-memory", "nowhere"));
  const body = { operations: [upsert("1", 1)] };
  const answer = await mecha.http("shop", "POST /v1.0/state/shop/transaction", { body });
  expect(answer.status).toBe(500);
  expect(answer.json()).toMatchObject({
    errorCode: "ERR_PUBLISH_OUTBOX",
    message: expect.stringContaining("error while publishing outbox message: the pub/sub component nowhere"),
  });
  expect((await mecha.http("shop", "GET /v1.0/state/shop/1")).status).toBe(204);
});
