import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { startRedis, type TestRedis } from "../contract/redis.ts";
import { policyOf } from "./cache-fixture.ts";

// Answers in Redis, kept by one runtime of `shop` and found by another.

let redis: TestRedis;
let backend: FakeApp | undefined;
let runtimes: TestMecha[] = [];
let version = 0;

beforeAll(async () => {
  redis = await startRedis();
}, 120_000);
afterEach(async () => {
  await Promise.all(runtimes.map((runtime) => runtime.stop()));
  runtimes = [];
  await backend?.close();
  await redis.flush();
});
afterAll(() => redis.stop());

async function startTwo(spec: object): Promise<[TestMecha, TestMecha]> {
  version = 0;
  backend = await fakeApp({
    otherwise: ({ method }) => (method === "GET" ? { body: `v${++version}` } : { status: 204 }),
  });
  const endpoint = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "HTTPEndpoint",
    metadata: { name: "orders" },
    spec: { baseUrl: `http://127.0.0.1:${backend.port}` },
  };
  const store = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Component",
    metadata: { name: "kept" },
    spec: {
      type: "state.redis",
      version: "v1",
      metadata: [{ name: "redisHost", value: `127.0.0.1:${redis.server.port}` }],
    },
  };
  const policy = policyOf({ targetRefs: [{ kind: "HTTPEndpoint", name: "orders" }], ...spec });
  const resources = [JSON.stringify(endpoint), JSON.stringify(store), policy].join("\n---\n");
  const start = () => startMecha({ apps: [{ appId: "shop" }], resources });
  runtimes = [await start(), await start()];
  return runtimes as [TestMecha, TestMecha];
}

const get = (runtime: TestMecha, path = "/x") =>
  runtime.http("shop", `GET /v1.0/invoke/orders/method${path}`);

/** The write goes on behind the reply. */
async function untilKept(runtime: TestMecha, path = "/x"): Promise<string> {
  let text = "";
  await until(async () => {
    const reply = await get(runtime, path);
    text = reply.text;
    return reply.header("cache-status")?.includes("hit") === true;
  }, "the answer in the store");
  return text;
}

test("what one runtime keeps the other finds", async () => {
  const [one, other] = await startTwo({ cache: { ttl: "1m", store: "kept" } });
  const first = await untilKept(one);
  expect(await untilKept(other)).toBe(first);
});

test("a purge by tag and a write at one runtime reach the other", async () => {
  const [one, other] = await startTwo({ cache: { ttl: "1m", store: "kept", tags: '["orders"]' } });
  await untilKept(one);
  const before = await untilKept(other);
  expect((await one.http("shop", "DELETE /v1.0-alpha1/mecha/cache?tag=orders")).status).toBe(200);
  expect((await get(other)).text).not.toBe(before);
  const kept = await untilKept(other);
  await one.http("shop", "POST /v1.0/invoke/orders/method/x");
  await until(async () => (await get(other)).text !== kept, "a new answer");
});

test("the app sees none of the keys, and none of them are its own", async () => {
  const [one] = await startTwo({ cache: { ttl: "1m", store: "kept" } });
  await untilKept(one);
  const connection = await redis.connect();
  const keys = ((await connection.read("KEYS", "*")) as unknown as Buffer[]).map(String);
  await connection.close();
  expect(keys.length).toBeGreaterThan(0);
  expect(keys.every((key) => key.startsWith("shop||mecha-cache||"))).toBe(true);
});

test("without the store calls go on", async () => {
  const [one] = await startTwo({ cache: { ttl: "1m", store: "nothing" } });
  expect([(await get(one)).text, (await get(one)).text]).toEqual(["v1", "v2"]);
  expect((await one.http("shop", "DELETE /v1.0-alpha1/mecha/cache?tag=orders")).status).toBe(503);
});
