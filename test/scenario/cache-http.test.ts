import { afterEach, expect, test } from "bun:test";
import { until } from "../../src/testing/index.ts";
import { type CachedPair, startPair } from "./cache-fixture.ts";

let pair: CachedPair | undefined;
afterEach(async () => {
  await pair?.stop();
  pair = undefined;
});

test("an answer with max-age is asked for once and tells its age", async () => {
  pair = await startPair({ cache: {} }, () => ({ headers: { "Cache-Control": "max-age=60" }, body: "one" }));
  const first = await pair.get("/x?a=1");
  const second = await pair.get("/x?a=1");
  const other = await pair.get("/x?a=2");
  expect([first.text, second.text, other.text]).toEqual(["one", "one", "one"]);
  expect(first.header("cache-status")).toBe("mecha; fwd=uri-miss; fwd-status=200; stored");
  expect(second.header("cache-status")).toMatch(/^mecha; hit; ttl=(59|60)$/);
  expect(Number(second.header("age"))).toBeLessThan(5);
  expect(pair.orders.requests.length).toBe(2);
});

test("an answer about whose age nothing is said is not kept", async () => {
  pair = await startPair({ cache: {} }, () => ({ body: "one" }));
  await pair.get("/x");
  const second = await pair.get("/x");
  expect(second.header("cache-status")).toBe("mecha; fwd=uri-miss");
  expect(pair.orders.requests.length).toBe(2);
});

test("a call without a policy gets no line about caches", async () => {
  pair = await startPair({ cache: {}, targetRefs: [{ kind: "App", name: "others" }] }, () => ({
    headers: { "Cache-Control": "max-age=60" },
    body: "one",
  }));
  await pair.get("/x");
  const second = await pair.get("/x");
  expect(second.header("cache-status")).toBeUndefined();
  expect(pair.orders.requests.length).toBe(2);
});

test("a stale answer is asked about, and a caller's own tag is answered from it", async () => {
  pair = await startPair({ cache: {} }, (request) => {
    const headers = { "Cache-Control": "no-cache", ETag: '"v1"' };
    return request.header("if-none-match") === '"v1"' ? { status: 304, headers } : { headers, body: "one" };
  });
  await pair.get("/x");
  const second = await pair.get("/x");
  const known = await pair.get("/x", { "If-None-Match": '"v1"' });
  expect([second.status, second.text]).toEqual([200, "one"]);
  expect(second.header("cache-status")).toContain("fwd-status=304");
  expect([known.status, known.text]).toEqual([304, ""]);
});

test("HEAD is answered from what GET brought", async () => {
  pair = await startPair({ cache: {} }, () => ({ headers: { "Cache-Control": "max-age=60" }, body: "four" }));
  await pair.get("/x");
  const head = await pair.mecha.http("shop", "HEAD /v1.0/invoke/orders/method/x");
  expect([head.status, head.text, head.header("content-length")]).toEqual([200, "", "4"]);
  expect(pair.orders.requests.length).toBe(1);
});

test("a write makes the answer of its path, and of the place it names, untrue", async () => {
  let version = 1;
  pair = await startPair({ cache: { ttl: "1m" } }, ({ method }) => {
    if (method !== "POST") return { body: `v${version}` };
    version++;
    return { status: 201, headers: { Location: "/other" } };
  });
  await pair.get("/x");
  await pair.get("/other");
  await pair.mecha.http("shop", "POST /v1.0/invoke/orders/method/x");
  expect([(await pair.get("/x")).text, (await pair.get("/other")).text]).toEqual(["v2", "v2"]);
});

test("callers with other values of a header the answer varies by get their own", async () => {
  pair = await startPair({ cache: { ttl: "1m" } }, (request) => ({
    headers: { Vary: "Accept-Language" },
    body: request.header("accept-language") ?? "none",
  }));
  const texts: string[] = [];
  for (const language of ["de", "en", "de", "en"]) {
    texts.push((await pair.get("/x", { "Accept-Language": language })).text);
  }
  expect(texts).toEqual(["de", "en", "de", "en"]);
  expect(pair.orders.requests.length).toBe(2);
});

test("while a stale answer is served a new one is fetched", async () => {
  let version = 0;
  pair = await startPair({ cache: { ttl: "50ms", staleWhileRevalidate: "1m" } }, () => ({
    body: `v${++version}`,
  }));
  await pair.get("/x");
  const { get } = pair;
  const stale = await untilReply(
    () => get("/x"),
    (reply) => reply.header("cache-status")?.includes("ttl=-"),
  );
  expect(stale.text).toMatch(/^v/);
  await until(async () => (await get("/x")).text !== stale.text, "the new answer");
});

test("with the app gone a stale answer is served, and without one the error", async () => {
  pair = await startPair({ cache: { ttl: "50ms", staleIfError: "1m" } }, () => ({ body: "one" }), {
    ownNode: true,
  });
  await pair.get("/x");
  await pair.orders.close();
  const { get } = pair;
  const stale = await untilReply(
    () => get("/x"),
    (reply) => reply.header("cache-status")?.includes("fwd="),
  );
  expect([stale.status, stale.text]).toEqual([200, "one"]);
  expect((await get("/y")).status).toBe(500);
});

test("a fallback takes what is kept, however old, and what it writes itself is not kept", async () => {
  let isDown = false;
  const fallback = { on: ["5xx"], staleCache: true, directResponse: { status: 200, body: "written" } };
  pair = await startPair({ cache: { ttl: "50ms" }, fallback }, () =>
    isDown ? { status: 500 } : { body: "one" },
  );
  const { get } = pair;
  await get("/x");
  isDown = true;
  const stale = await untilReply(
    () => get("/x"),
    (reply) => reply.header("cache-status")?.includes("detail=fallback"),
  );
  expect([stale.status, stale.text]).toEqual([200, "one"]);
  const written = await get("/y");
  expect([written.text, (await get("/y")).header("cache-status")]).toEqual([
    "written",
    "mecha; fwd=uri-miss",
  ]);
});

test("memory stays within its bound, and the list tells what became of requests", async () => {
  pair = await startPair({ cache: { ttl: "1m", maxBytes: "64Ki" } }, () => ({ body: "x".repeat(8192) }));
  for (let i = 0; i < 20; i++) await pair.get(`/${i}`);
  expect((await pair.get("/19")).header("cache-status")).toContain("hit");
  expect((await pair.get("/0")).header("cache-status")).toContain("uri-miss");
  const listed = await pair.mecha.http("shop", "GET /v1.0-alpha1/mecha/cache");
  const { caches } = listed.json() as { caches: { bytes: number; counts: object }[] };
  expect(caches).toMatchObject([{ target: "orders", store: "memory", counts: { hit: 1, miss: 21 } }]);
  expect(caches[0]?.bytes).toBeLessThanOrEqual(64 * 1024);
});

test("only-if-cached is answered with 504 when nothing is kept", async () => {
  pair = await startPair({ cache: { ttl: "1m" } }, () => ({ body: "one" }));
  const refused = await pair.get("/x", { "Cache-Control": "only-if-cached" });
  expect([refused.status, refused.json()]).toEqual([
    504,
    { errorCode: "ERR_NOT_CACHED", message: "no stored answer may be used" },
  ]);
  await pair.get("/x");
  expect((await pair.get("/x", { "Cache-Control": "only-if-cached" })).status).toBe(200);
});

test("answers are forgotten by tag, by app and by path", async () => {
  let version = 0;
  pair = await startPair({ cache: { ttl: "1m", tags: '["order-" + request.query.id, "orders"]' } }, () => ({
    body: `v${++version}`,
  }));
  const { mecha, get } = pair;
  const purge = async (query: string) =>
    (await mecha.http("shop", `DELETE /v1.0-alpha1/mecha/cache?${query}`)).json();
  await get("/x?id=1");
  await get("/x?id=2");
  expect(await purge("tag=order-1")).toEqual({ entries: 1 });
  expect([(await get("/x?id=1")).text, (await get("/x?id=2")).text]).toEqual(["v3", "v2"]);
  expect(await purge("app=orders&path=/x")).toEqual({ entries: 2 });
  expect((await get("/x?id=2")).text).toBe("v4");
  expect(await purge("app=orders")).toEqual({ entries: 1 });
  expect(await purge("tag=orders")).toEqual({ entries: 0 });
  expect((await mecha.http("shop", "DELETE /v1.0-alpha1/mecha/cache")).status).toBe(400);
});

/** The first reply that is as it has to be, within five seconds. */
async function untilReply<T>(ask: () => Promise<T>, isRight: (reply: T) => boolean | undefined): Promise<T> {
  let last: T | undefined;
  await until(async () => {
    last = await ask();
    return isRight(last) === true;
  }, "the reply");
  return last as T;
}
