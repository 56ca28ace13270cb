import { afterEach, expect, test } from "bun:test";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { goBuild } from "./toolchain.ts";

// The gRPC clients of SDKs call an app by its id, and a route with its policies decides.

let mecha: TestMecha | undefined;
const apps: FakeApp[] = [];

afterEach(async () => {
  await mecha?.stop();
  for (const app of apps.splice(0)) await app.close();
});

function document(kind: string, name: string, spec: object): string {
  const apiVersion = kind === "HTTPRoute" ? "gateway.networking.k8s.io/v1" : "mecha.run/v1alpha1";
  return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
}

const orders = { kind: "App", group: "mecha.run", name: "orders" };
const stock = { kind: "AppVersion", group: "mecha.run", name: "stock-v2" };
const old = { kind: "App", group: "mecha.run", name: "old-stock" };
const path = (value: string) => ({ path: { value } });
const rules = [
  {
    matches: [{ ...path("/echo"), method: "POST", headers: [{ name: "x-canary", value: "1" }] }],
    backendRefs: [stock],
  },
  {
    matches: [path("/echo")],
    backendRefs: [
      { ...old, weight: 1 },
      { ...stock, weight: 0 },
    ],
  },
  { name: "flaky", matches: [path("/flaky")], backendRefs: [stock] },
  { name: "limited", matches: [path("/limited")], backendRefs: [stock] },
];
const ruleOf = (sectionName: string) => ({ kind: "HTTPRoute", name: "r", sectionName });
const resources = [
  document("HTTPRoute", "r", { parentRefs: [orders], rules }),
  document("TrafficPolicy", "t", {
    targetRefs: [ruleOf("flaky")],
    retries: { attempts: 2, retryOn: "5xx", backoff: "1ms" },
  }),
  document("RateLimit", "l", { targetRefs: [ruleOf("limited")], limits: [{ requests: 1, per: "1h" }] }),
].join("\n---\n");

/** Runs a program beside the runtime of `shop`, and reads what it prints. */
async function said(command: string, words: string[]): Promise<unknown> {
  let failures = 2;
  const app = async (name: string): Promise<FakeApp> => {
    const opened = await fakeApp({
      otherwise: ({ target }) =>
        target === "/flaky" && failures-- > 0 ? { status: 503 } : { body: { by: name } },
    });
    apps.push(opened);
    return opened;
  };
  mecha = await startMecha({
    resources,
    apps: [
      { appId: "shop" },
      { appId: "old-stock", app: await app("old") },
      { appId: "stock", app: await app("new"), options: { labels: { version: "v2" } } },
    ],
  });
  const env = { ...process.env, DAPR_GRPC_PORT: String(mecha.ports("shop").grpc) };
  const { stdout } = await promisify(execFile)(command, words, { env });
  return JSON.parse(stdout.slice(stdout.indexOf("{")));
}

const wanted = {
  plain: '{"by":"old"}',
  flaky: '{"by":"new"}',
  limited: '{"by":"new"}',
};

test("the JavaScript SDK calls by a route", async () => {
  const program = join(import.meta.dirname, "javascript/routed.mjs");
  const codes = { "limited again": "RESOURCE_EXHAUSTED", nowhere: "UNIMPLEMENTED" };
  expect(await said("node", [program])).toEqual({ ...wanted, ...codes });
}, 120_000);

test("the Go SDK calls by a route, with metadata that a rule matches", async () => {
  const program = await goBuild(join(import.meta.dirname, "go"));
  const codes = { "limited again": "ResourceExhausted", nowhere: "Unimplemented" };
  expect(await said(program, ["routed"])).toEqual({ ...wanted, ...codes, canary: '{"by":"new"}' });
}, 600_000);
