import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AppRequest, fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";

// Answers kept where a TrafficPolicy is for a Gateway, a rule or a version of an app.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

type Reply = { status?: number; headers?: Record<string, string>; body?: string };
type Answer = (version: string, request: AppRequest) => Reply;

const fresh = { "Cache-Control": "max-age=60" };
const app = { group: "mecha.run", kind: "App", name: "shop" };
const version = (name: string) => ({ group: "mecha.run", kind: "AppVersion", name: `shop-${name}` });
const lineOf = (name: string, value: string) => ({
  type: "ResponseHeaderModifier",
  responseHeaderModifier: { set: [{ name, value }] },
});

function document(apiVersion: string, kind: string, name: string, spec: object): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
}

function policy(targetRefs: object[], spec: object): string {
  return document("mecha.run/v1alpha1", "TrafficPolicy", "kept", { targetRefs, ...spec });
}

/** A Gateway and calls by id, by one route, before two versions of an app. */
async function start(rules: object[], kept: string, answer: Answer) {
  const port = await freePort();
  const listeners = [
    { name: "one", protocol: "HTTP", port, hostname: "one.test" },
    { name: "any", protocol: "HTTP", port },
  ];
  const parentRefs = [{ name: "front" }, app];
  const gatewayApi = "gateway.networking.k8s.io/v1";
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (traffic: string): void => {
    const resources = [
      document(gatewayApi, "Gateway", "front", { gatewayClassName: "mecha", listeners }),
      document(gatewayApi, "HTTPRoute", "way", { parentRefs, rules }),
      traffic,
    ];
    writeFileSync(join(folder, "all.yaml"), resources.join("\n---\n"));
  };
  write(kept);
  const asked: { version: string; request: AppRequest }[] = [];
  const dataFolder = cleanup.folder();
  for (const name of ["v1", "v2"]) {
    const otherwise = (request: AppRequest) => {
      asked.push({ version: name, request });
      return answer(name, request);
    };
    const fake = await fakeApp({ otherwise });
    cleanup.add(() => fake.close());
    const apps = [{ appId: "shop", app: fake, options: { labels: { version: name } } }];
    const instance = await startMecha({ dataFolder, apps });
    cleanup.add(() => instance.stop());
  }
  const edge = { appId: "edge", options: { resourcesPaths: [folder] } };
  const mecha = await startMecha({ dataFolder, apps: [edge] });
  cleanup.add(() => mecha.stop());
  const get = async (path: string, headers: Record<string, string> = {}, method = "GET") => {
    const answered = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...{ method, headers: { Host: "one.test", ...headers }, redirect: "manual" },
    });
    return { status: answered.status, text: await answered.text(), headers: answered.headers };
  };
  await eventually(async () => {
    for (const name of ["v1", "v2"]) {
      await get("/known", { "x-version": name }, "POST");
      expect(asked.some((one) => one.version === name)).toBe(true);
    }
  });
  asked.splice(0);
  const byId = (path: string, headers: Record<string, string> = {}) =>
    mecha.http("edge", `GET /v1.0/invoke/shop/method${path}`, { headers });
  const count = () => asked.splice(0).length;
  return { get, byId, asked, count, mecha, write };
}

const byHeader = [
  { matches: [{ headers: [{ name: "X-Version", value: "v2" }] }], backendRefs: [version("v2")] },
  { backendRefs: [version("v1")] },
];
const onFront = [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: "front" }];

test("a Gateway keeps answers by host and by the headers that its rules ask for", async () => {
  const { get, byId, count } = await start(byHeader, policy(onFront, { cache: {} }), (name, request) => ({
    headers: fresh,
    body: `${name} ${request.header("x-forwarded-port") && request.header("x-forwarded-host")} ${request.target}`,
  }));
  for (const _time of [1, 2]) {
    expect((await get("/a?x=1")).text).toBe("v1 one.test /a?x=1");
    expect((await get("/a?x=1", { "x-version": "v2" })).text).toBe("v2 one.test /a?x=1");
    expect((await get("/a?x=1", { Host: "two.test" })).text).toBe("v1 two.test /a?x=1");
    expect((await get("/a?x=2")).text).toBe("v1 one.test /a?x=2");
  }
  expect((await get("/a?x=1")).headers.get("cache-status")).toMatch(/^mecha; hit; ttl=\d+$/);
  expect(count()).toBe(4);
  // Calls by id do not come in by the Gateway.
  for (const _time of [1, 2]) expect((await byId("/a?x=1")).text).toBe("v1 undefined /a?x=1");
  expect(count()).toBe(2);
  // What changes something makes what is kept of it untrue, whichever rule it goes by.
  expect((await get("/a?x=1", { "x-version": "v2" }, "POST")).status).toBe(200);
  expect(count()).toBe(1);
  await get("/a?x=1");
  await get("/a?x=1", { "x-version": "v2" });
  expect(count()).toBe(2);
});

test("a listener's own policy goes first, and a purge names its place", async () => {
  const section = { ...onFront[0], sectionName: "one" };
  const { get, count, mecha } = await start(byHeader, policy([section], { cache: {} }), () => ({
    headers: fresh,
  }));
  for (const host of ["one.test", "two.test"]) {
    for (const _time of [1, 2]) await get("/a", { Host: host });
  }
  expect(count()).toBe(3);
  const { caches } = (await mecha.http("edge", "GET /v1.0-alpha1/mecha/cache")).json() as {
    caches: object[];
  };
  expect(caches).toMatchObject([{ target: "Gateway/front/one", counts: { hit: 1 } }]);
  const purge = "DELETE /v1.0-alpha1/mecha/cache?app=Gateway/front/one&path=/a";
  // The answer, and what its rules tell it apart by.
  expect((await mecha.http("edge", purge)).json()).toEqual({ entries: 2 });
  await get("/a");
  expect(count()).toBe(1);
});

test("a version's answers are kept wherever calls of it come from; what is stale is asked about", async () => {
  let etag = '"1"';
  const on = [version("v1")];
  const { get, byId, asked, count } = await start(
    byHeader,
    policy(on, { cache: {}, retries: { attempts: 1 } }),
    (name, request) =>
      request.header("if-none-match") === etag
        ? { status: 304, headers: { ETag: etag, "Cache-Control": "no-cache" } }
        : { headers: { ETag: etag, "Cache-Control": "no-cache" }, body: `${name} ${etag}` },
  );
  for (const _time of [1, 2]) expect((await byId("/a")).text).toBe('v1 "1"');
  expect(asked.map(({ request }) => request.header("if-none-match"))).toEqual([undefined, '"1"']);
  etag = '"2"';
  expect((await byId("/a")).text).toBe('v1 "2"');
  count();
  for (const _time of [1, 2]) {
    const { text, headers } = await get("/b", { "x-version": "v2" });
    expect([text, headers.get("cache-status")]).toEqual(['v2 "2"', null]);
    expect((await get("/b")).headers.get("cache-status")).toContain("stored");
  }
  expect(count()).toBe(4);
});

test("a rule's lines are those of the backend that gave the answer, and answers of policies are not kept", async () => {
  const marked = (name: string, weight: number) => ({
    ...{ ...version(name), weight, filters: [lineOf("x-from", name)] },
  });
  const rules = [
    ...byHeader.slice(0, 1),
    { name: "rest", filters: [lineOf("x-rule", "yes")], backendRefs: [marked("v1", 1), marked("v2", 1)] },
  ];
  const onRule = [
    { group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "way", sectionName: "rest" },
  ];
  const { get, count, write } = await start(rules, policy(onRule, { cache: { ttl: "1h" } }), (name) => ({
    body: name,
  }));
  const first = await get("/a");
  for (let i = 0; i < 10; i++) {
    const { text, headers } = await get("/a");
    expect([text, headers.get("x-from"), headers.get("x-rule")]).toEqual([first.text, first.text, "yes"]);
  }
  expect(count()).toBe(1);
  const abort = { fault: { abort: { percentage: 100, httpStatus: 404 } } };
  write(policy(onRule, { cache: { ttl: "1h", staleIfError: "1h" }, ...abort }));
  await eventually(async () => expect((await get("/a")).status).toBe(404));
  write(policy(onRule, { cache: { ttl: "1h", staleIfError: "1h" } }));
  await eventually(async () => expect((await get("/a")).status).toBe(200));
});

test("equal requests at once are one for the version, and a failure is stood in for by what is stale", async () => {
  let isBad = false;
  const spec = {
    cache: { staleIfError: "1h" },
    collapse: {},
    fallback: { staleCache: true },
    circuitBreaker: { timeout: "1h" },
  };
  const { get, count } = await start(byHeader, policy([version("v1")], spec), (name) =>
    isBad ? { status: 500 } : { headers: { "Cache-Control": "max-age=1" }, body: name },
  );
  const all = await Promise.all(Array.from({ length: 20 }, () => get("/a")));
  expect(all.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, () => "v1"));
  expect(count()).toBe(1);
  isBad = true;
  await eventually(async () =>
    expect((await get("/a")).headers.get("cache-status")).toContain("detail=fallback"),
  );
  expect((await get("/a")).text).toBe("v1");
  expect((await get("/never")).status).toBe(500);
});
