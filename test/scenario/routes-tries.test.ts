import { afterEach, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { InvokeServiceRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/invoke_pb.js";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";

// Of several policies on the way of a call the nearest one tries again: one call has one loop.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function document(apiVersion: string, kind: string, name: string, spec: object): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name }, spec });
}

const gatewayApi = "gateway.networking.k8s.io/v1";
const own = { group: "mecha.run" };
const targets = {
  gateway: { group: "gateway.networking.k8s.io", kind: "Gateway", name: "front" },
  app: { ...own, kind: "App", name: "shop" },
  version: { ...own, kind: "AppVersion", name: "shop-v1" },
  route: { group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "way" },
  grpcRoute: { group: "gateway.networking.k8s.io", kind: "GRPCRoute", name: "way" },
};
type Target = keyof typeof targets;

const retryOn = "5xx,unavailable";
/** Tries more, of the policy of each target. */
type Attempts = Partial<Record<Target, number | object>>;

function policies(attempts: Attempts): string[] {
  return Object.entries(attempts).map(([target, given]) => {
    const retries = { retryOn, backoff: "1ms", ...(typeof given === "number" ? { attempts: given } : given) };
    const spec = { targetRefs: [targets[target as Target]], retries };
    return document("mecha.run/v1alpha1", "TrafficPolicy", target, spec);
  });
}

function resiliency(maxRetries: number): string {
  return document("dapr.io/v1alpha1", "Resiliency", "outer", {
    policies: { retries: { some: { policy: "constant", duration: "1ms", maxRetries } } },
    targets: { apps: { shop: { retry: "some" } } },
  });
}

interface Setup {
  attempts: Attempts;
  rule?: object;
  more?: string[];
  app?: number;
}

/** An app `shop` of one version behind a route, called by id and by a Gateway. */
async function start({ attempts, rule = {}, more = [], app }: Setup) {
  const port = await freePort();
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const listeners = [{ name: "web", protocol: "HTTP", port }];
  const parentRefs = [{ name: "front" }, targets.app];
  const rules = [{ ...rule, backendRefs: [targets.version] }];
  const resources = [
    document(gatewayApi, "Gateway", "front", { gatewayClassName: "mecha", listeners }),
    document(gatewayApi, "HTTPRoute", "way", { parentRefs, rules }),
    document(gatewayApi, "GRPCRoute", "way", { parentRefs, rules: [{ backendRefs: [targets.version] }] }),
    ...policies(attempts),
    ...more,
  ];
  writeFileSync(join(folder, "all.yaml"), resources.join("\n---\n"));
  const plan = { slowMs: 0, status: 503, tries: 0 };
  const fake = await fakeApp({
    async otherwise() {
      plan.tries++;
      if (plan.slowMs > 0) await new Promise((later) => setTimeout(later, plan.slowMs));
      return { status: plan.status };
    },
  });
  cleanup.add(() => fake.close());
  const labels = { version: "v1" };
  const shop =
    app === undefined
      ? { appId: "shop", app: fake, options: { labels } }
      : { appId: "shop", app, options: { labels, appProtocol: "grpc" as const } };
  const mecha = await startMecha({
    apps: [{ appId: "edge", options: { resourcesPaths: [folder] } }, shop],
  });
  cleanup.add(() => mecha.stop());
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("edge").grpc });
  cleanup.add(() => client.close());
  const byId = async () => (await mecha.http("edge", "GET /v1.0/invoke/shop/method/x")).status;
  const message = { method: "x", httpExtension: { verb: HTTPExtension_Verb.GET } };
  const request = toBinary(
    InvokeServiceRequestSchema,
    create(InvokeServiceRequestSchema, { id: "shop", message }),
  );
  const byService = () => client.unary("/dapr.proto.runtime.v1.Dapr/InvokeService", request).catch(() => {});
  const metadata: [string, string][] = [["dapr-app-id", "shop"]];
  const proxied = () => client.unary("/shop.Shop/Buy", Buffer.from("x"), { metadata }).catch(() => {});
  const byGateway = () => fetch(`http://127.0.0.1:${port}/x`).then(({ status }) => status);
  const triesOf = async (call: () => Promise<unknown>): Promise<number> => {
    plan.tries = 0;
    await call();
    return plan.tries;
  };
  return { plan, byId, byService, byGateway, proxied, triesOf };
}

const retry = { retry: { attempts: 4, codes: [503], backoff: "1ms" } };

describe("tries of a call by id", () => {
  test.each([
    [{ app: 2 }, {}, 3],
    [{ app: 2, version: 3 }, {}, 4],
    [{ app: 3, version: 1 }, {}, 2],
    [{ app: 2, version: 3, route: 1 }, {}, 2],
    [{ version: 3, route: 1 }, {}, 2],
    [{ app: 2, version: 3, route: 1 }, retry, 5],
    [{ app: 2 }, { timeouts: { request: "10s" } }, 3],
    [{ app: 2, route: 0 }, {}, 1],
    [{}, {}, 1],
  ])("%j, the rule %j: %d", async (attempts, rule, tries) => {
    const { byId, byService, triesOf } = await start({ attempts, rule });
    expect(await triesOf(byId)).toBe(tries);
    expect(await triesOf(byService)).toBe(tries);
  });

  test("a Resiliency stands outside of them, and each of its tries has the nearest one's", async () => {
    const { byId, byService, triesOf } = await start({
      attempts: { app: 4, version: 1 },
      more: [resiliency(2)],
    });
    expect(await triesOf(byId)).toBe(6);
    expect(await triesOf(byService)).toBe(6);
  });
});

test.each([
  [{ gateway: 5 }, {}, 6],
  [{ gateway: 5, version: 1 }, {}, 2],
  [{ gateway: 1, route: 2, version: 3 }, {}, 3],
  [{ gateway: 1, route: 2, version: 3 }, retry, 5],
  [{ gateway: 1, app: 7 }, {}, 2],
])("tries of what comes in by a Gateway: %j, the rule %j: %d", async (attempts, rule, tries) => {
  const { byGateway, triesOf } = await start({ attempts, rule });
  await eventually(async () => expect(await byGateway()).toBe(503));
  expect(await triesOf(byGateway)).toBe(tries);
});

test.each([
  [{ app: 2 }, 3],
  [{ app: 2, version: 3 }, 4],
  [{ app: 2, version: 3, grpcRoute: 1 }, 2],
])("tries of a gRPC call of the app's own service: %j: %d", async (attempts, tries) => {
  let calls = 0;
  const server = createGrpcServer({
    lookup: () => ({
      kind: "unary",
      handle() {
        calls++;
        throw new GrpcError(14, "busy");
      },
    }),
  });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  cleanup.add(() => server.close());
  const { proxied } = await start({ attempts, app: "port" in bound ? bound.port : 0 });
  // The app has been asked for its subscriptions.
  calls = 0;
  await proxied();
  expect(calls).toBe(tries);
});

describe("the time of a try", () => {
  const short = { attempts: 0, perTryTimeout: "200ms" };
  test.each([
    ["is what the app's policy says", { app: short }, {}, 500],
    ["is what the version's policy says, and it says nothing", { app: short, version: 0 }, {}, 200],
    ["is what the version's policy says", { app: { attempts: 0 }, version: short }, {}, 500],
    [
      "is what the rule says",
      { app: short, route: short, version: short },
      { timeouts: { backendRequest: "9s" } },
      200,
    ],
    ["is not what a rule says that has retries alone", { app: short }, retry, 200],
  ] as const)("%s", async (_, attempts, rule, status) => {
    const { plan, byId } = await start({ attempts, rule });
    Object.assign(plan, { slowMs: 600, status: 200 });
    expect(await byId()).toBe(status);
  });
});
