import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import type { AppHandler } from "../../src/testing/fake-app.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb, InvokeResponseSchema } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { Cleanup, eventually } from "../mecha-process.ts";
import { trafficPolicy } from "./traffic-fixture.ts";

// Policies on the way of a route: the route, its rules and the versions it sends to, by HTTP, InvokeService and proxied gRPC.
// The clients are grpc-js and plain HTTP.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const raw = (bytes: Buffer): Buffer => bytes;
const payPath = "/shop.v1.Pay/Charge";

let mecha: TestMecha;
let client: grpc.Client;
/** What the apps `infra-v1`, `infra` (of version v2) and the two of gRPC got. */
let seen: { backend: string; text: string; header(name: string): string | undefined }[] = [];
/** What the apps do; absent: they answer with their names. */
let plan: AppHandler | undefined;
let code: number | undefined;
let folder: string;

function write(...documents: string[]): void {
  writeFileSync(join(folder, "all.yaml"), documents.join("\n---\n"));
}

beforeEach(async () => {
  seen = [];
  plan = undefined;
  code = undefined;
  folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  write();
  const v2 = { labels: { version: "v2" } };
  const apps = [
    { appId: "caller", options: { resourcesPaths: [folder] } },
    { appId: "infra-v1", app: await httpApp("v1") },
    { appId: "infra", app: await httpApp("v2"), options: v2 },
    { appId: "pay-v1", app: await grpcApp("v1"), options: { appProtocol: "grpc" as const } },
    { appId: "pay", app: await grpcApp("v2"), options: { ...v2, appProtocol: "grpc" as const } },
  ];
  mecha = await startMecha({ apps });
  client = new grpc.Client(`127.0.0.1:${mecha.ports("caller").grpc}`, grpc.credentials.createInsecure());
  cleanup.add(async () => {
    client.close();
    await mecha.stop();
  });
});

async function httpApp(backend: string): Promise<FakeApp> {
  const app = await fakeApp({
    otherwise: async (request) => {
      seen.push({ backend, text: request.text, header: (name) => request.header(name) });
      return { headers: { "X-Backend": backend }, body: backend, ...(await plan?.(request)) };
    },
  });
  cleanup.add(() => app.close());
  return app;
}

async function grpcApp(backend: string): Promise<number> {
  const server = new grpc.Server();
  const charge: grpc.handleUnaryCall<Buffer, Buffer> = ({ request, metadata }, reply) => {
    const header = (name: string) => metadata.get(name)[0]?.toString();
    seen.push({ backend, text: request.toString(), header });
    if (code === undefined) reply(null, Buffer.from(backend));
    else reply({ code, details: "as told" });
  };
  const coding = {
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  };
  server.addService(
    { charge: { path: payPath, requestStream: false, responseStream: false, ...coding } },
    { charge },
  );
  cleanup.add(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
}

interface Answered {
  /** Who answered, or the status. */
  by: string;
  metadata: grpc.Metadata;
}

function unary(
  path: string,
  request: Buffer,
  metadata: grpc.Metadata,
): Promise<Answered & { bytes: Buffer }> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, raw, raw, request, metadata, (error, bytes) => {
      const by = error === null ? "" : (grpc.status[error.code] ?? "");
      resolve({ by, metadata: error?.metadata ?? new grpc.Metadata(), bytes: bytes ?? Buffer.alloc(0) });
    });
  });
}

function metadataOf(fields: Record<string, string>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

/** A proxied call of `till`, which is a name of routes alone. */
async function charge(fields: Record<string, string> = {}): Promise<Answered> {
  const answered = await unary(payPath, Buffer.from("1"), metadataOf({ "dapr-app-id": "till", ...fields }));
  return { ...answered, by: answered.by || answered.bytes.toString() };
}

/** A call of `shop`, which is a name of routes alone, by InvokeService. */
async function invoke(
  method = "orders/1",
  fields: Record<string, string> = {},
  verb = "GET",
): Promise<Answered> {
  const message = create(Dapr.method.invokeService.input, {
    id: "shop",
    message: {
      method,
      data: { value: Buffer.from("body") },
      httpExtension: { verb: HTTPExtension_Verb[verb as "GET"], querystring: "q=1" },
    },
  });
  const bytes = Buffer.from(toBinary(Dapr.method.invokeService.input, message));
  const answered = await unary("/dapr.proto.runtime.v1.Dapr/InvokeService", bytes, metadataOf(fields));
  const { data } = fromBinary(InvokeResponseSchema, answered.bytes);
  return { ...answered, by: answered.by || Buffer.from(data?.value ?? []).toString() };
}

async function get(path = "/orders/1"): Promise<string> {
  const answer = await mecha.http("caller", `GET /v1.0/invoke/shop/method${path}`);
  return answer.header("x-backend") ?? String(answer.status);
}

function route(kind: "HTTPRoute" | "GRPCRoute", name: string, rules: object[]): string {
  const app = kind === "HTTPRoute" ? "shop" : "till";
  const spec = { parentRefs: [{ kind: "App", group: "mecha.run", name: app }], rules };
  return `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${JSON.stringify(spec)}`;
}

const v1 = (app = "infra", weight = 1) => ({ kind: "App", group: "mecha.run", name: `${app}-v1`, weight });
const v2 = (app = "infra", weight = 1) => ({
  kind: "AppVersion",
  group: "mecha.run",
  name: `${app}-v2`,
  weight,
});
const orders = { matches: [{ path: { value: "/orders" } }] };

const policy = (name: string, target: string, blocks: string): string =>
  trafficPolicy(name, `{ targetRefs: [ { ${target} } ], ${blocks} }`);
const abort = (status: number) => `fault: { abort: { percentage: 100, httpStatus: ${status} } }`;
const retries = 'retries: { attempts: 2, retryOn: "5xx", backoff: 1ms }';
const limit = (name: string, target: string, more = ""): string => `apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: ${name} }
spec:
  targetRefs: [ { ${target} } ]
  ${more}
  limits: [ { requests: 1, per: 1h } ]`;

test("a policy of an AppVersion stands round what routes send to it, and round nothing else", async () => {
  const rules = [{ ...orders, backendRefs: [v2()] }, { backendRefs: [v1()] }];
  const own = policy("version", "kind: AppVersion, name: infra-v2", abort(418));
  write(route("HTTPRoute", "r", rules), own);
  await eventually(async () => expect(await get()).toBe("418"));
  expect(await get("/else")).toBe("v1");
  expect((await invoke()).by).toBe("UNKNOWN");
  expect((await invoke("else")).by).toBe("v1");
  expect(seen.filter(({ backend }) => backend === "v2")).toEqual([]);
  write(
    route("HTTPRoute", "r", [{ backendRefs: [{ kind: "App", group: "mecha.run", name: "infra" }] }]),
    own,
  );
  await eventually(async () => expect(await get()).toBe("v2"));
});

test("retries of a version are made within those of the rule, with the body", async () => {
  write(
    route("HTTPRoute", "r", [{ backendRefs: [v2()] }]),
    policy("version", "kind: AppVersion, name: infra-v2", retries),
  );
  await eventually(async () => expect(await get()).toBe("v2"));
  plan = () => (seen.length < 3 ? { status: 503 } : {});
  seen = [];
  expect((await invoke("orders/1", {}, "POST")).by).toBe("v2");
  expect(seen.map(({ text }) => text)).toEqual(["body", "body", "body"]);
  seen = [];
  const posted = await mecha.http("caller", "POST /v1.0/invoke/shop/method/x", { body: "whole" });
  expect([posted.status, seen.map(({ text }) => text)]).toEqual([200, ["whole", "whole", "whole"]]);
});

test("InvokeService goes by rules as HTTP does: match, weights, filters, mirror, timeouts", async () => {
  const filters = [
    { type: "RequestHeaderModifier", requestHeaderModifier: { set: [{ name: "X-Set", value: "new" }] } },
    { type: "RequestMirror", requestMirror: { backendRef: { ...v2(), weight: undefined } } },
  ];
  write(
    route("HTTPRoute", "r", [
      { matches: [{ headers: [{ name: "x-canary", value: "1" }] }], backendRefs: [v1("infra", 0), v2()] },
      {
        matches: [{ queryParams: [{ name: "q", value: "1" }], method: "DELETE" }],
        filters,
        backendRefs: [v1()],
      },
      { ...orders, backendRefs: [v1("infra", 1), v2("infra", 1)] },
      { matches: [{ path: { value: "/slow" } }], backendRefs: [v1()], timeouts: { request: "50ms" } },
    ]),
  );
  await eventually(async () => expect((await invoke("x", { "x-canary": "1" })).by).toBe("v2"));
  seen = [];
  expect((await invoke("x", {}, "DELETE")).by).toBe("v1");
  await eventually(() => expect(seen.map(({ backend }) => backend).sort()).toEqual(["v1", "v2"]));
  expect(seen.map(({ header }) => header("x-set"))).toEqual(["new", "new"]);
  const both = new Set<string>();
  for (let i = 0; i < 40; i++) both.add((await invoke()).by);
  expect([...both].sort()).toEqual(["v1", "v2"]);
  plan = ({ target }) => (target.startsWith("/slow") ? new Promise(() => {}) : {});
  expect((await invoke("slow")).by).toBe("DEADLINE_EXCEEDED");
  expect((await invoke("nowhere")).by).toBe("UNIMPLEMENTED");
});

test("policies of a route and of its rules stand round InvokeService", async () => {
  const rules = [{ name: "own", ...orders, backendRefs: [v1()] }, { backendRefs: [v1()] }];
  write(
    route("HTTPRoute", "r", rules),
    policy("all", "kind: HTTPRoute, name: r", retries),
    policy("one", "kind: HTTPRoute, name: r, sectionName: own", abort(503)),
  );
  await eventually(async () => expect((await invoke()).by).toBe("UNAVAILABLE"));
  plan = () => (seen.length < 3 ? { status: 500 } : {});
  seen = [];
  expect([(await invoke("else")).by, seen.length]).toEqual(["v1", 3]);
  const direct = "fallback: { on: [ 5xx ], directResponse: { status: 200, body: written } }";
  plan = () => ({ status: 500 });
  write(
    route("HTTPRoute", "r", rules),
    policy("all", "kind: HTTPRoute, name: r", direct),
    limit("few", "kind: HTTPRoute, name: r, sectionName: own"),
  );
  await eventually(async () => expect((await invoke("else")).by).toBe("written"));
  const refused = await eventuallyRefused(() => invoke());
  expect(Number(refused.metadata.get("retry-after")[0])).toBeGreaterThan(0);
});

test("policies of a GRPCRoute stand round proxied calls, those of a rule in their place", async () => {
  const rules = [
    { name: "blue", matches: [{ headers: [{ name: "color", value: "blue" }] }], backendRefs: [v1("pay")] },
    { backendRefs: [v1("pay")] },
  ];
  write(
    route("GRPCRoute", "g", rules),
    policy("all", "kind: GRPCRoute, name: g", retries),
    policy("one", "kind: GRPCRoute, name: g, sectionName: blue", abort(403)),
  );
  await eventually(async () => expect((await charge({ color: "blue" })).by).toBe("PERMISSION_DENIED"));
  seen = [];
  code = grpc.status.INTERNAL;
  expect([(await charge()).by, seen.length]).toEqual(["INTERNAL", 3]);
  write(route("GRPCRoute", "g", rules), limit("few", "kind: GRPCRoute, name: g"));
  const refused = await eventuallyRefused(() => charge());
  expect(Number(refused.metadata.get("retry-after")[0])).toBeGreaterThan(0);
  expect((await charge({ color: "blue" })).by).toBe("RESOURCE_EXHAUSTED");
});

test("a GRPCRoute splits proxied calls by weight, and a version has policies of its own", async () => {
  const split = (one: number, two: number) =>
    route("GRPCRoute", "g", [{ backendRefs: [v1("pay", one), v2("pay", two)] }]);
  const own = policy("version", "kind: AppVersion, name: pay-v2", abort(403));
  write(split(0, 1), own);
  await eventually(async () => expect((await charge()).by).toBe("PERMISSION_DENIED"));
  write(split(1, 3));
  await eventually(async () => expect((await charge()).by).toBe("v2"));
  const calls = 400;
  const by: Record<string, number> = {};
  for (let i = 0; i < calls; i++) {
    const one = (await charge()).by;
    by[one] = (by[one] ?? 0) + 1;
  }
  const sigma = Math.sqrt(calls * 0.25 * 0.75);
  expect(Object.keys(by).sort()).toEqual(["v1", "v2"]);
  expect(Math.abs((by.v1 ?? 0) - calls / 4)).toBeLessThan(5 * sigma);
});

test("policies of the app that is called stand round its GRPCRoute", async () => {
  write(
    route("GRPCRoute", "g", [{ backendRefs: [v1("pay")] }]),
    policy("app", "kind: App, name: till", abort(403)),
  );
  await eventually(async () => expect((await charge()).by).toBe("PERMISSION_DENIED"));
  write(
    route("GRPCRoute", "g", [{ backendRefs: [v1("pay")] }]),
    policy("app", "kind: App, name: pay-v1", abort(403)),
  );
  await eventually(async () => expect((await charge()).by).toBe("v1"));
});

test("a RateLimit of an AppVersion counts what routes send to it", async () => {
  const rules = [{ ...orders, backendRefs: [v2()] }, { backendRefs: [v1()] }];
  write(
    route("HTTPRoute", "r", rules),
    limit("few", "kind: AppVersion, name: infra-v2", "direction: outbound"),
  );
  await eventually(async () => {
    await get();
    expect(await get()).toBe("429");
  });
  expect([await get("/else"), (await invoke()).by]).toEqual(["v1", "RESOURCE_EXHAUSTED"]);
});

test("inbound it counts what comes in for the instances of that version, by whatever way", async () => {
  const limits = (name: string) => limit("few", `kind: AppVersion, name: ${name}`);
  const server = join(cleanup.folder(), "server");
  mkdirSync(server);
  const app = await httpApp("limited");
  const options = { resourcesPaths: [server], labels: { version: "v3" } };
  const started = async (name: string): Promise<number[]> => {
    writeFileSync(join(server, "limit.yaml"), limits(name));
    const world = await startMecha({ apps: [{ appId: "caller" }, { appId: "stock", app, options }] });
    const call = async () => (await world.http("caller", "GET /v1.0/invoke/stock/method/x")).status;
    const statuses = [await call(), await call()];
    await world.stop();
    return statuses;
  };
  expect(await started("stock-v3")).toEqual([200, 429]);
  expect(await started("stock-v2")).toEqual([200, 200]);
});

async function eventuallyRefused(call: () => Promise<Answered>): Promise<Answered> {
  let last: Answered | undefined;
  await eventually(async () => {
    last = await call();
    expect(last.by).toBe("RESOURCE_EXHAUSTED");
  });
  return last as Answered;
}
