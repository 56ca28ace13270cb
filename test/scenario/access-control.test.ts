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
import { Cleanup, eventually, freePort, startMecha as startProcess } from "../mecha-process.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mecha-acl-"));
  closers.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A Configuration file with this `accessControl`. */
function configOf(accessControl: object, file = join(folder(), "config.yaml")): string {
  const document = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Configuration",
    metadata: { name: "guarded" },
    spec: { accessControl },
  };
  writeFileSync(file, JSON.stringify(document));
  return file;
}

const shopMayRead = {
  defaultAction: "deny",
  policies: [
    {
      appId: "shop",
      namespace: "default",
      trustDomain: "public",
      defaultAction: "deny",
      operations: [{ name: "/orders/**", httpVerb: ["GET"], action: "allow" }],
    },
  ],
};

async function greeter() {
  const app = await fakeApp({ otherwise: () => ({ body: "here" }) });
  closers.push(() => app.close());
  return app;
}

async function grpcGreeter(): Promise<number> {
  const app = createGrpcServer({
    // The callbacks of Dapr get empty messages.
    lookup: (path) => ({
      kind: "unary",
      handle: () => Buffer.from(path.startsWith("/dapr.") ? "" : "here"),
    }),
  });
  closers.push(() => app.close());
  const bound = await app.listen({ host: "127.0.0.1", port: 0 });
  return "port" in bound ? bound.port : 0;
}

async function node(configPaths: string[], appProtocol: "http" | "grpc" = "http"): Promise<TestMecha> {
  const app = appProtocol === "grpc" ? await grpcGreeter() : await greeter();
  const mecha = await startMecha({
    apps: [
      { appId: "shop" },
      { appId: "stranger" },
      { appId: "orders", app, options: { configPaths, appProtocol } },
    ],
  });
  closers.push(() => mecha.stop());
  return mecha;
}

test("an app is called by those that its Configuration lets in, for what it lets them do", async () => {
  const mecha = await node([configOf(shopMayRead)]);
  const call = (caller: string, line: string) => mecha.http(caller, line);
  const path = "/v1.0/invoke/orders/method";
  expect((await call("shop", `GET ${path}/orders/7`)).text).toBe("here");
  const denied = await call("shop", `DELETE ${path}/orders/7`);
  expect(denied.status).toBe(403);
  expect(denied.json()).toEqual({
    errorCode: "ERR_DIRECT_INVOKE",
    message:
      "failed to invoke, id: orders, err: rpc error: code = PermissionDenied desc = access control policy has " +
      "denied access to appid: shop operation: /orders/7 verb: DELETE",
  });
  expect((await call("stranger", `GET ${path}/orders/7`)).status).toBe(403);
  expect((await call("orders", `DELETE ${path}/anything`)).text).toBe("here");
});

test.each([
  ["/orders/../secrets", 403],
  ["/orders/%2E%2E/secrets", 403],
  ["//secrets", 403],
  ["/ORDERS/7", 200],
])("the path that is judged is the path that is called: %p", async (path, status) => {
  const mecha = await node([configOf(shopMayRead)]);
  const answer = await mecha.http("shop", `GET /v1.0/invoke/orders/method${path}`);
  expect(answer.status).toBe(status);
});

test("who says to be somebody else stays who it is", async () => {
  const mecha = await node([configOf(shopMayRead)]);
  const headers = { "dapr-caller-app-id": "shop", "mecha-peer-trust-domain": "public" };
  const answer = await mecha.http("stranger", "GET /v1.0/invoke/orders/method/orders/7", { headers });
  expect(answer.status).toBe(403);
});

test("a proxied gRPC call is judged by its method", async () => {
  const control = structuredClone(shopMayRead);
  control.policies[0]?.operations.splice(0, 1, {
    name: "/shop.Orders/Get",
    httpVerb: ["*"],
    action: "allow",
  });
  const mecha = await node([configOf(control)], "grpc");
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  closers.push(() => client.close());
  const call = async (method: string): Promise<string> => {
    const metadata: [string, string][] = [["dapr-app-id", "orders"]];
    return client.unary(method, new Uint8Array(0), { metadata }).then(
      (answer) => Buffer.from(answer).toString(),
      (error: Error & { code: number }) => `${error.code} ${error.message}`,
    );
  };
  expect(await call("/shop.Orders/Get")).toBe("here");
  expect(await call("/shop.Orders/Delete")).toContain(
    "7 access control policy has denied access to appid: shop operation: /shop.Orders/Delete verb: NONE",
  );
});

test.each(["http", "grpc"] as const)(
  "a legacy call of a %s app is judged by its path, and by its verb where there are some",
  async (protocol) => {
    const mecha = await node([configOf(shopMayRead)], protocol);
    const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
    closers.push(() => client.close());
    const { input } = Dapr.method.invokeService;
    const call = (verb: keyof typeof HTTPExtension_Verb, method = "orders/7"): Promise<string> => {
      const message = { method, httpExtension: { verb: HTTPExtension_Verb[verb] } };
      const request = toBinary(input, create(input, { id: "orders", message }));
      return client.unary("/dapr.proto.runtime.v1.Dapr/InvokeService", request).then(
        () => "called",
        (error: Error & { code: number }) => `${error.code} ${error.message}`,
      );
    };
    expect(await call("GET")).toBe("called");
    const denied = /^7 .*access control policy has denied access to appid: shop operation: (.*)$/;
    // The methods of gRPC apps have no verbs, as in Dapr.
    if (protocol === "grpc") expect(await call("DELETE")).toBe("called");
    else expect(denied.exec(await call("DELETE"))?.[1]).toBe("/orders/7 verb: DELETE");
    expect(denied.exec(await call("GET", "orders/../secrets"))?.[1]).toBe("/secrets verb: GET");
  },
);

test("a changed Configuration applies at once, and one without sense changes nothing", async () => {
  const file = configOf(shopMayRead);
  const mecha = await node([file]);
  const status = async () => (await mecha.http("stranger", "GET /v1.0/invoke/orders/method/orders/7")).status;
  expect(await status()).toBe(403);
  configOf({ policies: [{ appId: "stranger", defaultAction: "perhaps" }] }, file);
  await until(() => mecha.log().includes("spec.accessControl.policies.0.defaultAction"), "the refusal");
  expect(await status()).toBe(403);
  configOf({ defaultAction: "allow" }, file);
  await until(async () => (await status()) === 200, "the new Configuration");
});

/** Two runtimes, each a process: the caller's name and trust domain come over the internal port. */
async function twoProcesses(words: string[]) {
  const cleanup = new Cleanup();
  closers.push(() => cleanup.run());
  const data = cleanup.folder();
  const app = await greeter();
  const start = async (command: string[]) => {
    const port = await freePort();
    const ports = [
      "--dapr-http-port",
      port,
      "--dapr-grpc-port",
      await freePort(),
      "--metrics-port",
      await freePort(),
    ];
    cleanup.process(startProcess([...command, ...ports.map(String), "--data-dir", data]));
    await eventually(async () => {
      const reply = await fetch(`http://127.0.0.1:${port}/v1.0/healthz`);
      if (reply.status !== 204) throw new Error(`healthz answered ${reply.status}`);
    });
    return { port, metricsPort: Number(ports.at(-1)) };
  };
  const config = configOf({ ...shopMayRead, trustDomain: "warehouse" });
  const callee = await start([
    ...words,
    "--app-id",
    "orders",
    "--app-port",
    `${app.port}`,
    "--config",
    config,
  ]);
  const ask = async (appId: string, domain?: string) => {
    const own =
      domain === undefined ? [] : ["--config", configOf({ defaultAction: "allow", trustDomain: domain })];
    const caller = await start([...words, "--app-id", appId, ...own]);
    return (await fetch(`http://127.0.0.1:${caller.port}/v1.0/invoke/orders/method/orders/7`)).status;
  };
  return { ask, metrics: async () => (await fetch(`http://127.0.0.1:${callee.metricsPort}/metrics`)).text() };
}

test("calls from other processes are judged by the name their runtime vouches for", async () => {
  const { ask, metrics } = await twoProcesses(["run"]);
  expect(await ask("shop")).toBe(200);
  expect(await ask("stranger")).toBe(403);
  const text = await metrics();
  const counted = (name: string, appId: string) =>
    `dapr_runtime_acl_${name}_total{app_id="${appId}",namespace="default",trustDomain="public"} 1`;
  expect(text).toContain(counted("app_policy_action_allowed", "shop"));
  expect(text).toContain(counted("global_policy_action_blocked", "stranger"));
});

test("an app of another trust domain is not the app of the policy", async () => {
  const { ask } = await twoProcesses(["run"]);
  expect(await ask("shop", "elsewhere")).toBe(403);
});

test("with daprd's flags nobody vouches for a caller without mTLS: the default action holds", async () => {
  const { ask } = await twoProcesses(["daprd"]);
  expect(await ask("shop")).toBe(403);
});
