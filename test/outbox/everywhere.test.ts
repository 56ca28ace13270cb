// The transactional outbox of every transactional store over every broker, on their real servers.
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha } from "../../src/testing/index.ts";
import { component } from "../component-text.ts";
import { makeTable } from "../contract/dynamodb.ts";
import { startMoto, type TestMoto } from "../contract/moto.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { startService } from "../services.ts";

type Items = Record<string, string>;

const servers = new Cleanup();
const cleanup = new Cleanup();
let moto: TestMoto;
/** By `type/version`, without what joins them to a pub/sub component. */
let stores: Record<string, Items>;

beforeAll(async () => {
  const start = async (name: string) => {
    const server = await startService(name);
    servers.add(() => server.stop());
    return server;
  };
  const [redis, postgresql, mariadb, etcd] = await Promise.all(
    ["redis", "postgresql", "mariadb", "etcd"].map(start),
  );
  moto = await startMoto();
  servers.add(() => moto.stop());
  await makeTable(moto, "outbox");
  const connectionString = String(postgresql?.details.url);
  const endpoints = `127.0.0.1:${etcd?.port}`;
  stores = {
    "state.in-memory/v1": {},
    "state.mecha/v1": {},
    "state.sqlite/v1": { connectionString: `${servers.folder()}/state.db` },
    "state.redis/v1": { redisHost: `127.0.0.1:${redis?.port}` },
    "state.postgresql/v1": { connectionString },
    "state.postgresql/v2": { connectionString, tablePrefix: "second_" },
    "state.mysql/v1": { connectionString: String(mariadb?.details.url) },
    "state.etcd/v1": { endpoints, keyPrefixPath: "first" },
    "state.etcd/v2": { endpoints, keyPrefixPath: "second" },
    "state.aws.dynamodb/v1": { ...awsItems(), table: "outbox", ttlAttributeName: "expires" },
  };
}, 300_000);
afterAll(() => servers.run(), 60_000);
afterEach(() => cleanup.run(), 60_000);

const brokers: Record<string, () => Promise<Items>> = {
  "pubsub.in-memory": async () => ({}),
  "pubsub.mecha": async () => ({}),
  "pubsub.redis": async () => ({ redisHost: `127.0.0.1:${await portOf("redis")}` }),
  "pubsub.rabbitmq": async () => ({
    ...{ connectionString: await urlOf("rabbitmq"), deletedWhenUnused: "false", requeueInFailure: "true" },
  }),
  "pubsub.jetstream": async () => ({ natsURL: await urlOf("nats"), createStreams: "true" }),
  "pubsub.kafka": async () => ({
    ...{ brokers: `127.0.0.1:${await portOf("kafka")}`, authType: "none", initialOffset: "oldest" },
  }),
  "pubsub.mqtt3": async () => ({ url: await urlOf("mosquitto"), consumerID: "shop", cleanSession: "false" }),
  "pubsub.mqtt5": async () => ({ url: await urlOf("mosquitto"), consumerID: "shop", cleanSession: "false" }),
  "pubsub.postgresql": async () => ({ connectionString: await urlOf("postgresql") }),
  "pubsub.aws.snssqs": async () => awsItems(),
  "pubsub.pulsar": async () => ({ host: `127.0.0.1:${await portOf("pulsar")}` }),
};

/**
 * moto puts all items of a transaction into the table, then the whole table back as it was when a condition failed: who reads
 * in between sees the marker of what is not committed (seen once). DynamoDB isolates them.
 */
const isReadHalfway = (store: string): boolean => store === "state.aws.dynamodb/v1";

test.each(Object.keys(brokers))(
  "every transactional store tells over %s what it commits, and nothing else",
  async (type) => {
    const keys = Object.keys(stores);
    const topics = keys.map((key) => `orders-${key.replace(/[./]/g, "-")}`);
    const { app, told } = await listener(topics);
    const bus = component("bus", `${type}/v1`, await (brokers[type] as () => Promise<Items>)());
    const shops = Object.entries(stores).map(([key, items], index) =>
      component(`shop-${index}`, key, {
        ...items,
        ...{ outboxPublishPubsub: "bus", outboxPublishTopic: topics[index] as string },
      }),
    );
    const resources = [bus, ...shops].join("---\n");
    const mecha = await startMecha({ apps: [{ appId: "shop", app }], resources });
    cleanup.add(() => mecha.stop());
    const writeTo = async (index: number): Promise<number[]> => {
      const path = `/v1.0/state/shop-${index}`;
      const key = `${type} ${index}`;
      const transact = async (...operations: object[]): Promise<number> =>
        (await mecha.http("shop", `POST ${path}/transaction`, { body: { operations } })).status;
      const first = await transact(upsert(key, "first"));
      const etag = (await mecha.http("shop", `GET ${path}/${encodeURIComponent(key)}`)).header("etag");
      const second = await transact(upsert(key, "second"));
      if (isReadHalfway(keys[index] as string)) return [first, second];
      return [first, second, await transact(upsert(`${key} too`, "never"), upsert(key, "never", etag))];
    };
    const answers = await Promise.all(topics.map((_, index) => writeTo(index)));
    expect(answers).toEqual(keys.map((store) => (isReadHalfway(store) ? [204, 204] : [204, 204, 500])));
    await eventually(() => {
      for (const topic of topics) expect(told.get(topic)).toEqual(new Set(["first", "second"]));
    }, 60_000);
  },
  300_000,
);

/** What an app is told of each topic. */
async function listener(topics: string[]): Promise<{ app: FakeApp; told: Map<string, Set<unknown>> }> {
  const told = new Map(topics.map((topic) => [topic, new Set<unknown>()]));
  const hear = (topic: string) => (request: { json(): unknown }) => {
    told.get(topic)?.add((request.json() as { data: unknown }).data);
    return {};
  };
  const app = await fakeApp({
    subscriptions: topics.map((topic) => ({ pubsubname: "bus", topic, route: `/${topic}` })),
    handlers: Object.fromEntries(topics.map((topic) => [`POST /${topic}`, hear(topic)])),
    otherwise: () => ({ status: 404 }),
  });
  cleanup.add(() => app.close());
  return { app, told };
}

function upsert(key: string, value: string, etag?: string): object {
  const metadata = { contentType: "application/json" };
  return { operation: "upsert", request: { key, value, metadata, ...(etag && { etag }) } };
}

function awsItems(): Items {
  return { region: "us-east-1", accessKey: "test", secretKey: "secret", endpoint: moto.client.endpoint };
}

async function start(name: string) {
  const server = await startService(name);
  cleanup.add(() => server.stop());
  return server;
}

async function portOf(name: string): Promise<number> {
  return (await start(name)).port;
}

async function urlOf(name: string): Promise<string> {
  return String((await start(name)).details.url);
}
