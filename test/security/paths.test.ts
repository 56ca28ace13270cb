// What a policy judges is what the app gets, however a path is spelt (security.md §4.6, SEC-P1, P2 and P4).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer, type GrpcServer } from "../../src/net/grpc/index.ts";
import { createHttpClient, type HttpClient } from "../../src/net/http1/index.ts";
import { canonicalTarget } from "../../src/peer/method-path.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { forgivingPath, generatedPaths, pathVectors } from "./path-corpus.ts";

let folder: string;
let app: FakeApp;
let grpcApp: GrpcServer;
const methods: string[] = [];
let mecha: TestMecha;
let client: HttpClient;
let grpc: ReturnType<typeof createGrpcClient>;

const rule = (name: string, action: string) => ({ name, httpVerb: ["*"], action });
const policy = (defaultAction: string, ...operations: object[]) => ({
  defaultAction,
  policies: [{ appId: "shop", namespace: "default", trustDomain: "public", defaultAction, operations }],
});

/** A Configuration file with an access control list. */
function listed(name: string, accessControl: object): { configPaths: string[] } {
  const file = join(folder, `${name}.yaml`);
  const head = { apiVersion: "dapr.io/v1alpha1", kind: "Configuration", metadata: { name } };
  writeFileSync(file, JSON.stringify({ ...head, spec: { accessControl } }));
  return { configPaths: [file] };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-paths-"));
  app = await fakeApp({
    config: { entities: ["Cat"] },
    otherwise: ({ target }) => ({ body: target }),
  });
  grpcApp = createGrpcServer({
    lookup: (path) => ({
      kind: "unary",
      handle: (request) => {
        if (!path.startsWith("/dapr.") && !path.startsWith("/grpc.")) methods.push(path);
        return path.startsWith("/dapr.") ? Buffer.alloc(0) : request;
      },
    }),
  });
  const bound = await grpcApp.listen({ host: "127.0.0.1", port: 0 });
  const rpc = "port" in bound ? bound.port : 0;
  const grpcOptions = (name: string, control: object) => ({
    appProtocol: "grpc" as const,
    ...listed(name, control),
  });
  mecha = await startMecha({
    apps: [
      { appId: "shop" },
      { appId: "open", app },
      { appId: "shut", app, options: listed("shut", policy("deny")) },
      { appId: "denies", app, options: listed("denies", policy("allow", rule("/admin/**", "deny"))) },
      { appId: "allows", app, options: listed("allows", policy("deny", rule("/public/**", "allow"))) },
      {
        appId: "rpc",
        app: rpc,
        options: grpcOptions("rpc", policy("deny", rule("/shop.Public/*", "allow"))),
      },
    ],
    resources: `
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: { name: outside }
spec: { baseUrl: "http://127.0.0.1:${app.port}/base/v1" }
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: send }
spec: { type: bindings.http, version: v1, metadata: [{ name: url, value: "http://127.0.0.1:${app.port}/base/v1" }] }
`,
  });
  client = createHttpClient();
  grpc = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  await until(async () => (await ask("/v1.0/invoke/open/method/x")).status === 200, "the app to be found");
});

afterAll(async () => {
  grpc.close();
  client.close();
  await mecha.stop();
  await Promise.all([app.close(), grpcApp.close()]);
  rmSync(folder, { recursive: true, force: true });
});

async function ask(target: string, headers: string[] = []): Promise<{ status: number; text: string }> {
  const address = { host: "127.0.0.1", port: mecha.ports("shop").http };
  const response = await client.request(address, { method: "GET", target, headers });
  const body = await response.body.bytes(1 << 20);
  return { status: response.status, text: Buffer.from(body).toString("utf8") };
}

/** A legacy call of a named method; the code, or the app's answer. */
async function invokeService(id: string, method: string): Promise<string> {
  const { input } = Dapr.method.invokeService;
  const request = create(input, { id, message: { method, httpExtension: { verb: HTTPExtension_Verb.GET } } });
  const path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
  return grpc.unary(path, toBinary(input, request), { timeoutMs: 10_000 }).then(
    (bytes) => `answered ${Buffer.from(bytes).toString("latin1")}`,
    (error) => String(error),
  );
}

/** The operation that a policy named when it refused. */
function judged(text: string): string | undefined {
  const { message } = JSON.parse(text) as { message: string };
  return /access to appid: shop operation: (.*) verb: GET$/s.exec(message)?.[1];
}

test("SEC-P1: of 10,000 paths the policy judges the bytes that the app gets", async () => {
  const wrong: string[] = [];
  let agreed = 0;
  for (const path of generatedPaths(10_000, 1)) {
    const isNamed = path.length % 2 === 0;
    const of = (id: string) =>
      isNamed ? ask(path, ["dapr-app-id", id]) : ask(`/v1.0/invoke/${id}/method${path}`);
    const before = app.requests.length;
    const shut = await of("shut");
    if (app.requests.length !== before) wrong.push(`${path}: let in`);
    const open = await of("open");
    const got = app.requests.slice(before).map(({ target }) => target);
    const operation = shut.status === 403 ? judged(shut.text) : undefined;
    const [target] = got;
    const dispatched = target?.split("?")[0];
    if (operation !== dispatched || got.length > 1)
      wrong.push(`${path}: judged ${operation}, sent ${dispatched}`);
    if (target === undefined || dispatched === undefined) continue;
    agreed++;
    if (canonicalTarget(target) !== target) wrong.push(`${path}: ${target} is not stable`);
    if (/\/\/|\/\.{1,2}(?:\/|$)|[\0-\x20#\x7f\\]/.test(dispatched))
      wrong.push(`${path}: ${target} is not clean`);
    if (open.status !== 200) wrong.push(`${path}: ${open.status}`);
  }
  expect(wrong.slice(0, 20)).toEqual([]);
  expect(agreed).toBeGreaterThan(2_000);
});

/** Whether a server of any habits would take a request that was let in for one of `/admin`. */
const isAdmin = (target: string) => /^\/admin(?:\/|$)/.test(forgivingPath(target));
const isPublic = (target: string) => /^\/public(?:\/|$)/.test(forgivingPath(target));

/** What the app got of a call, by the form that names it. */
async function gotBy(form: string, id: string, vector: string): Promise<string[]> {
  const before = app.requests.length;
  const raw = Buffer.from(vector, "utf8").toString("latin1");
  if (form === "path") await ask(`/v1.0/invoke/${id}/method${raw}`);
  if (form === "bare path") await ask(`/v1.0/invoke/${id}/method/${raw}`);
  if (form === "namespace") await ask(`/v1.0/invoke/${id}.default/method${raw}`);
  if (form === "header") await ask(raw, ["dapr-app-id", id]);
  if (form === "basic") await ask(raw, ["authorization", `Basic ${btoa(`dapr-app-id:${id}`)}`]);
  if (form === "rpc") await invokeService(id, vector);
  if (form === "bare rpc") await invokeService(id, vector.slice(1));
  return app.requests.slice(before).map(({ target }) => target);
}

const forms = ["path", "bare path", "namespace", "header", "basic", "rpc", "bare rpc"];

test.each(forms.map((form) => [form]))(
  "SEC-P2: no spelling gets past a deny or allow rule as %s",
  async (form) => {
    expect(pathVectors.length).toBeGreaterThanOrEqual(100);
    const wrong: string[] = [];
    for (const vector of pathVectors) {
      for (const target of await gotBy(form, "denies", vector))
        if (isAdmin(target)) wrong.push(`denies ${vector}: ${target}`);
      for (const target of await gotBy(form, "allows", vector))
        if (!isPublic(target)) wrong.push(`allows ${vector}: ${target}`);
    }
    expect(wrong).toEqual([]);
    expect(await gotBy(form, "denies", "/fine/x")).toEqual(["/fine/x"]);
    expect(await gotBy(form, "allows", "/public/x")).toEqual(["/public/x"]);
  },
);

test("SEC-P2: an actor's method is one segment below its actor, whatever it holds", async () => {
  await until(async () => (await ask("/v1.0/invoke/open/method/x")).status === 200, "the app");
  const wrong: string[] = [];
  for (const vector of pathVectors) {
    const raw = Buffer.from(vector, "utf8").toString("latin1");
    for (const target of [`/v1.0/actors/Cat/tom/method${raw}`, `/v1.0/actors/Cat${raw}/method/feed`]) {
      const before = app.requests.length;
      await ask(target);
      for (const got of app.requests.slice(before).map((each) => each.target)) {
        if (!/^\/actors\/Cat\/[^/?#]+\/method\//.test(got) || isAdmin(got)) wrong.push(`${target}: ${got}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test("SEC-P2, SEC-S2: no path leaves the base of an HTTPEndpoint or an HTTP binding", async () => {
  const escapes = [
    "/../../admin",
    "/..",
    "/%2e%2e/%2e%2e/admin",
    "/..%2f..%2fadmin",
    "/..\\..\\admin",
    "/..;/..;/admin",
    "//evil",
    "/@evil",
  ];
  const wrong: string[] = [];
  for (const vector of [...pathVectors, ...escapes]) {
    const before = app.requests.length;
    await ask(`/v1.0/invoke/outside/method${Buffer.from(vector, "utf8").toString("latin1")}`);
    await mecha.http("shop", "POST /v1.0/bindings/send", {
      body: { operation: "get", metadata: { path: vector } },
    });
    for (const { target } of app.requests.slice(before)) {
      if (!/^\/base\/v1(?:[/?]|$)/.test(forgivingPath(target))) wrong.push(`${vector}: ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("SEC-P4: a gRPC path that is no /service/method reaches nobody past the rules", async () => {
  const call = async (path: string, metadata: [string, string][] = [["dapr-app-id", "rpc"]]) =>
    grpc.unary(path, Buffer.from("x"), { timeoutMs: 10_000, metadata }).then(
      () => "OK",
      (error) => `${error.code}`,
    );
  await until(async () => (await call("/shop.Public/Get")) === "OK", "the gRPC app to be found");
  methods.length = 0;
  const odd = [
    ...[
      "shop.Admin/Get",
      "/shop.Admin/Get",
      "/shop.Admin/Get?x",
      "//shop.Admin/Get",
      "/shop.Public/../shop.Admin/Get",
      "/",
      "",
    ],
    ...[
      "/shop.Public/%2e%2e/shop.Admin/Get",
      "/shop.Public%2f..%2fshop.Admin/Get",
      "/SHOP.PUBLIC/Get",
      "/shop.Public",
      "*",
    ],
    ...[
      "/shop.Public/Get/../../shop.Admin/Get",
      "/shop.Admin;/Get",
      "/shop.Public;/../shop.Admin/Get",
      "/shop.Admin/Get#",
    ],
    ...[
      "/shop.Public\\..\\shop.Admin/Get",
      `/shop.Admin/${"G".repeat(65_536)}`,
      `/${"s".repeat(20_000)}/Get`,
      "/shop.Admin/",
    ],
  ];
  for (const path of odd)
    expect([path.slice(0, 60), await call(path)]).not.toEqual([path.slice(0, 60), "OK"]);
  const beyond = methods.filter((path) => !/^\/shop\.Public\/[^/]*$/.test(path));
  expect(beyond).toEqual([]);
  expect(await call("/shop.Public/Get")).toBe("OK");
});
