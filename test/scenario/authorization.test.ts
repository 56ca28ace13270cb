import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

// AuthorizationPolicy: who may call an app, and what an app may do with what it uses.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function policy(spec: object, { name = "guard", metadata = {} } = {}): string {
  const apiVersion = "mecha.run/v1alpha1";
  const document = { apiVersion, kind: "AuthorizationPolicy", metadata: { name, ...metadata }, spec };
  return `---\n${JSON.stringify(document)}\n`;
}

const onOrders = { targetRefs: [{ kind: "App", name: "orders" }] };
const shopReads = policy({
  ...onOrders,
  rules: [
    {
      from: [{ source: { principals: ["public/ns/default/shop"] } }],
      to: [{ operation: { methods: ["GET"], paths: ["/orders/{*}"] } }],
    },
  ],
});

async function node(resources: string, protocol: "http" | "grpc" = "http"): Promise<TestMecha> {
  const mecha = await startMecha({
    resources,
    apps: [
      { appId: "shop" },
      { appId: "stranger" },
      { appId: "orders", app: await greeter(protocol), options: { appProtocol: protocol } },
    ],
  });
  closers.push(() => mecha.stop());
  return mecha;
}

async function greeter(protocol: "http" | "grpc") {
  if (protocol === "grpc") return grpcGreeter();
  const app = await fakeApp({ otherwise: () => ({ body: "here" }) });
  closers.push(() => app.close());
  return app;
}

async function grpcGreeter(): Promise<number> {
  const app = createGrpcServer({
    lookup: (path) => ({
      kind: "unary",
      handle: () => Buffer.from(path.startsWith("/dapr.") ? "" : "here"),
    }),
  });
  closers.push(() => app.close());
  const bound = await app.listen({ host: "127.0.0.1", port: 0 });
  return "port" in bound ? bound.port : 0;
}

function grpcCalls(mecha: TestMecha, appId: string) {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports(appId).grpc });
  closers.push(() => client.close());
  return (path: string, message: Uint8Array, metadata: [string, string][] = []): Promise<string> =>
    client.unary(path, message, { metadata }).then(
      (answer) => Buffer.from(answer).toString(),
      (error: Error & { code: number }) => `${error.code} ${error.message}`,
    );
}

test("a call is let in by who calls, how and what; the caller learns nothing of why not", async () => {
  const mecha = await node(shopReads);
  const path = "/v1.0/invoke/orders/method";
  expect((await mecha.http("shop", `GET ${path}/orders/7?x=1`)).text).toBe("here");
  const denied = await mecha.http("stranger", `GET ${path}/orders/7`);
  expect(denied.status).toBe(403);
  expect(denied.text).toBe("RBAC: access denied");
  expect((await mecha.http("shop", `DELETE ${path}/orders/7`)).status).toBe(403);
  expect((await mecha.http("shop", `GET ${path}/orders/7/items`)).status).toBe(403);
  // The app itself is a caller like any other.
  expect((await mecha.http("orders", `GET ${path}/orders/7`)).status).toBe(403);
  const headers = { "dapr-caller-app-id": "shop", "dapr-caller-namespace": "default" };
  expect((await mecha.http("stranger", `GET ${path}/orders/7`, { headers })).status).toBe(403);
  expect(mecha.log()).toContain("no ALLOW policy matched");
});

test("a DENY policy goes before an ALLOW policy, and its rule is told in the log", async () => {
  const deny = policy(
    { ...onOrders, action: "DENY", rules: [{ to: [{ operation: { paths: ["/orders/13"] } }] }] },
    { name: "unlucky" },
  );
  const mecha = await node(shopReads + deny);
  const path = "/v1.0/invoke/orders/method/orders";
  expect((await mecha.http("shop", `GET ${path}/12`)).status).toBe(200);
  expect((await mecha.http("shop", `GET ${path}/13`)).status).toBe(403);
  expect(mecha.log()).toContain("rule 0 of unlucky matched");
});

test("AUDIT and dry runs are told, and decide nothing", async () => {
  const rules = [{ to: [{ operation: { paths: ["/*"] } }] }];
  const audit = policy({ ...onOrders, action: "AUDIT", rules }, { name: "watch" });
  const dry = policy(
    { ...onOrders, action: "DENY", rules },
    { name: "soon", metadata: { annotations: { "istio.io/dry-run": "true" } } },
  );
  const mecha = await node(audit + dry);
  expect((await mecha.http("shop", "GET /v1.0/invoke/orders/method/x")).text).toBe("here");
  expect(mecha.log()).toContain("authorization: audited");
  expect(mecha.log()).toContain("would be denied (dry run): rule 0 of soon matched");
});

test("a rule may ask for a header", async () => {
  const rules = [{ when: [{ key: "request.headers[x-role]", values: ["admin"] }] }];
  const mecha = await node(policy({ ...onOrders, action: "DENY", rules }));
  const status = async (role: string | undefined) => {
    const headers: Record<string, string> = role === undefined ? {} : { "X-Role": role };
    return (await mecha.http("shop", "GET /v1.0/invoke/orders/method/x", { headers })).status;
  };
  expect(await status(undefined)).toBe(200);
  expect(await status("user")).toBe(200);
  expect(await status("admin")).toBe(403);
});

test("a condition in CEL is asked for calls and for keys, and a bad one is refused with its place", async () => {
  const cel = 'request.headers["x-role"] == "admin" || request.path.startsWith("/open")';
  const keys = {
    to: [{ operation: { stateStores: ["statestore"] } }],
    when: [{ cel: 'request.key.endsWith("-x")' }],
  };
  const mecha = await node(
    policy({ ...onOrders, rules: [{ when: [{ cel }] }] }) +
      policy({ action: "DENY", rules: [keys] }, { name: "keys" }),
  );
  const call = async (path: string, role = "") => {
    const headers: Record<string, string> = role === "" ? {} : { "x-role": role };
    return (await mecha.http("shop", `GET /v1.0/invoke/orders/method/${path}`, { headers })).status;
  };
  const statuses = await Promise.all([call("x"), call("x", "admin"), call("open/1"), call("x", "user")]);
  expect(statuses).toEqual([403, 200, 200, 403]);
  const read = async (key: string) => (await mecha.http("shop", `GET /v1.0/state/statestore/${key}`)).status;
  expect(await Promise.all([read("a-x"), read("a-y")])).toEqual([403, 204]);
  const bad = await node(policy({ ...onOrders, rules: [{ when: [{ cel: "request.size > 1" }] }] })).catch(
    (e) => e,
  );
  expect(String(bad)).toContain('cel: "request.size" is not known');
});

test("a proxied gRPC call is judged by its method", async () => {
  const rules = [{ to: [{ operation: { paths: ["/shop.Orders/Get"], methods: ["POST"] } }] }];
  const mecha = await node(policy({ ...onOrders, rules }), "grpc");
  const call = grpcCalls(mecha, "shop");
  const metadata: [string, string][] = [["dapr-app-id", "orders"]];
  expect(await call("/shop.Orders/Get", new Uint8Array(0), metadata)).toBe("here");
  expect(await call("/shop.Orders/Delete", new Uint8Array(0), metadata)).toBe("7 RBAC: access denied");
});

test("a legacy call is judged by its path and verb", async () => {
  const mecha = await node(shopReads);
  const call = grpcCalls(mecha, "shop");
  const { input } = Dapr.method.invokeService;
  const invoke = (method: string, verb: keyof typeof HTTPExtension_Verb): Promise<string> => {
    const message = { method, httpExtension: { verb: HTTPExtension_Verb[verb] } };
    const bytes = toBinary(input, create(input, { id: "orders", message }));
    return call("/dapr.proto.runtime.v1.Dapr/InvokeService", bytes);
  };
  expect(await invoke("orders/7", "GET")).toContain("here");
  expect(await invoke("orders/7", "DELETE")).toMatch(/^7 .*RBAC: access denied/);
  expect(await invoke("orders/../secrets", "GET")).toMatch(/^7 /);
});

test("a state store gives what its policy lets an app have, key by key", async () => {
  const rules = [{ to: [{ operation: { keys: ["shop||cart*"], verbs: ["get", "set"] } }] }];
  const targetRefs = [{ kind: "Component", name: "statestore" }];
  const mecha = await node(policy({ targetRefs, rules }));
  const state = "/v1.0/state/statestore";
  const save = (key: string) =>
    mecha.http("shop", `POST ${state}`, { body: [{ key, value: 1 }] as unknown as object });
  expect((await save("cart-1")).status).toBe(204);
  const denied = await save("order-1");
  expect(denied.status).toBe(403);
  expect(denied.json()).toMatchObject({ errorCode: "ERR_ACCESS_DENIED", message: "RBAC: access denied" });
  expect((await mecha.http("shop", `GET ${state}/cart-1`)).text).toBe("1");
  expect((await mecha.http("shop", `DELETE ${state}/cart-1`)).status).toBe(403);
  const bulk = (keys: string[]) => mecha.http("shop", `POST ${state}/bulk`, { body: { keys } });
  expect((await bulk(["cart-1", "cart-2"])).status).toBe(200);
  expect((await bulk(["cart-1", "order-1"])).status).toBe(403);
  const operations = [{ operation: "upsert", request: { key: "cart-1", value: 2 } }];
  expect((await mecha.http("shop", `POST ${state}/transaction`, { body: { operations } })).status).toBe(403);
  // Another app has other keys.
  expect((await mecha.http("stranger", `GET ${state}/cart-1`)).status).toBe(403);
});

test("a rule against writing a key holds for transactions, too", async () => {
  const rules = [
    { to: [{ operation: { stateStores: ["statestore"], keys: ["shop||frozen"], verbs: ["set"] } }] },
  ];
  const mecha = await node(policy({ action: "DENY", rules }));
  const change = (key: string) => {
    const operations = [{ operation: "upsert", request: { key, value: 2 } }];
    return mecha.http("shop", "POST /v1.0/state/statestore/transaction", { body: { operations } });
  };
  expect((await change("thawed")).status).toBe(204);
  expect((await change("frozen")).status).toBe(403);
  expect((await mecha.http("shop", "GET /v1.0/state/statestore/frozen")).status).toBe(204);
});

test("topics, secrets, configuration, locks and bindings have rules of their own, over gRPC too", async () => {
  const deny = (operation: object, name: string) =>
    policy({ action: "DENY", rules: [{ to: [{ operation }] }] }, { name });
  const mecha = await node(
    deny({ topics: ["salaries"], verbs: ["publish"] }, "a") +
      deny({ secrets: ["PATH"] }, "b") +
      deny({ configurationStores: ["configstore"], keys: ["root"] }, "c") +
      deny({ locks: ["vault"] }, "d"),
  );
  const status = async (line: string, body?: object) =>
    (await mecha.http("shop", line, body === undefined ? {} : { body })).status;
  expect(await status("POST /v1.0/publish/pubsub/salaries", {})).toBe(403);
  expect(await status("POST /v1.0/publish/pubsub/menus", {})).toBe(204);
  expect(await status("GET /v1.0/secrets/secretstore/PATH")).toBe(403);
  // All secrets together have that one among them.
  expect(await status("GET /v1.0/secrets/secretstore/bulk")).toBe(403);
  expect(await status("GET /v1.0/configuration/configstore?key=root")).toBe(403);
  expect(await status("GET /v1.0/configuration/configstore?key=leaf")).toBe(204);
  const lock = (resourceId: string) => ({ resourceId, lockOwner: "me", expiryInSeconds: 5 });
  expect(await status("POST /v1.0-alpha1/lock/lockstore", lock("vault"))).toBe(403);
  expect(await status("POST /v1.0-alpha1/lock/lockstore", lock("shed"))).toBe(200);
  const { input } = Dapr.method.publishEvent;
  const publish = (topic: string) =>
    grpcCalls(mecha, "shop")(
      "/dapr.proto.runtime.v1.Dapr/PublishEvent",
      toBinary(input, create(input, { pubsubName: "pubsub", topic })),
    );
  expect(await publish("salaries")).toBe("7 RBAC: access denied");
  expect(await publish("menus")).toBe("");
});

test("an event that an app may not have does not get to it, and does once the policy is gone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mecha-authz-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const got: string[] = [];
  const take = () => {
    got.push("event");
    return { body: {} };
  };
  const subscriptions = [{ pubsubname: "pubsub", topic: "orders", route: "/in" }];
  const app = await fakeApp({ subscriptions, handlers: { "POST /in": take } });
  closers.push(() => app.close());
  const rules = [{ to: [{ operation: { topics: ["orders"], verbs: ["subscribe"] } }] }];
  const file = join(folder, "policy.yaml");
  writeFileSync(file, policy({ action: "DENY", rules }));
  const options = { resourcesPaths: [folder] };
  const mecha = await startMecha({ apps: [{ appId: "shop", app, options }] });
  closers.push(() => mecha.stop());
  expect((await mecha.http("shop", "POST /v1.0/publish/pubsub/orders", { body: {} })).status).toBe(204);
  await until(() => mecha.log().includes("authorization: denied"), "the denial");
  expect(got).toEqual([]);
  rmSync(file);
  await until(() => got.length > 0, "the event", 25_000);
}, 30_000);
