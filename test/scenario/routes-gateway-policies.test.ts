import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import type { AppHandler } from "../../src/testing/fake-app.ts";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { trafficPolicy } from "./traffic-fixture.ts";

// Policies of a Gateway and of its listeners, round requests from outside.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface World {
  write(...policies: string[]): void;
  log(): string;
  /** The status, or who answered. */
  ask(host: string, path?: string, body?: string): Promise<string>;
  texts: string[];
}

/** A Gateway `front` with the listeners `shop` (shop.test) and `any` on one port, before one app. */
async function open(answer: AppHandler, app?: number): Promise<World & { port: number }> {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const port = await freePort();
  const listener = (name: string, hostname?: string) => ({
    name,
    protocol: "HTTP",
    port,
    ...(hostname && { hostname }),
  });
  const listeners = [listener("shop", "shop.test"), listener("any")];
  const gateway = document("Gateway", "front", { gatewayClassName: "mecha", listeners });
  const backendRefs = [{ name: "infra", port: 80 }];
  const parentRefs = [{ name: "front" }];
  const rules = [{ matches: [{ path: { value: "/known" } }], backendRefs }];
  const routes = [
    document("HTTPRoute", "r", { parentRefs, rules }),
    document("GRPCRoute", "g", { parentRefs, rules: [{ backendRefs }] }),
  ];
  const write = (...policies: string[]): void =>
    writeFileSync(join(folder, "all.yaml"), [gateway, ...routes, ...policies].join("\n---\n"));
  write();
  const texts: string[] = [];
  const otherwise: AppHandler = async (request) => {
    texts.push(request.text);
    return { body: "infra", ...(await answer(request)) };
  };
  const fake = app === undefined ? await fakeApp({ otherwise }) : undefined;
  const infra = {
    appId: "infra",
    app: fake ?? (app as number),
    options: app === undefined ? {} : { appProtocol: "grpc" as const },
  };
  const mecha = await startMecha({
    apps: [{ appId: "ingress", options: { resourcesPaths: [folder] } }, infra],
  });
  cleanup.add(async () => {
    await mecha.stop();
    await fake?.close();
  });
  const ask = async (host: string, path = "/known", body?: string): Promise<string> => {
    const method = body === undefined ? "GET" : "POST";
    const answered = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { Host: host },
      ...(body && { body }),
    });
    const text = await answered.text();
    return answered.status === 200 ? text : `${answered.status}`;
  };
  return { write, ask, texts, port, log: () => mecha.log() };
}

function document(kind: string, name: string, spec: object): string {
  return `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${JSON.stringify(spec)}`;
}

const policy = (name: string, section: string, blocks: string): string =>
  trafficPolicy(name, `{ targetRefs: [ { kind: Gateway, name: front${section} } ], ${blocks} }`);
const abort = (status: number) => `fault: { abort: { percentage: 100, httpStatus: ${status} } }`;
const limit = (section: string, requests: number): string => `apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: few${requests} }
spec:
  targetRefs: [ { group: gateway.networking.k8s.io, kind: Gateway, name: front${section} } ]
  limits: [ { requests: ${requests}, per: 1h } ]`;

test("a policy of a Gateway is for all that comes in, that of a listener stands in its place", async () => {
  const world = await open(() => ({}));
  world.write(policy("all", "", abort(503)), policy("own", ", sectionName: shop", abort(418)));
  await eventually(async () => expect(await world.ask("shop.test")).toBe("418"));
  expect([await world.ask("else.test"), await world.ask("else.test", "/nowhere")]).toEqual(["503", "503"]);
  world.write(policy("own", ", sectionName: shop", abort(418)));
  await eventually(async () => expect(await world.ask("else.test")).toBe("infra"));
  expect(await world.ask("shop.test")).toBe("418");
});

test("its retries send the body again, and that no rule matches is not tried again", async () => {
  const world = await open(() => (world.texts.length < 3 ? { status: 503 } : {}));
  world.write(
    policy(
      "all",
      "",
      'retries: { attempts: 2, retryOn: "5xx", backoff: 1ms }, circuitBreaker: { trip: totalFailures >= 3 }',
    ),
  );
  await eventually(async () => {
    world.texts.length = 0;
    expect(await world.ask("a", "/known", "whole")).toBe("infra");
  });
  expect(world.texts).toEqual(["whole", "whole", "whole"]);
  for (let i = 0; i < 4; i++) expect(await world.ask("a", "/nowhere")).toBe("404");
  expect(await world.ask("a")).toBe("infra");
});

test("a RateLimit of a Gateway counts every request, one of a listener those for its host", async () => {
  const world = await open(() => ({}));
  world.write(limit(", sectionName: shop", 1), limit("", 4));
  await eventually(async () => {
    await world.ask("shop.test");
    expect(await world.ask("shop.test")).toBe("429");
  });
  const others: string[] = [];
  for (let i = 0; i < 5; i++) others.push(await world.ask("else.test", "/nowhere"));
  expect([others.includes("404"), others.at(-1)]).toEqual([true, "429"]);
});

test("policies of a Gateway are for gRPC calls too", async () => {
  const raw = (bytes: Buffer): Buffer => bytes;
  const path = "/shop.v1.Echo/Echo";
  const coding = {
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  };
  const server = new grpc.Server();
  server.addService(
    { echo: { path, requestStream: false, responseStream: false, ...coding } },
    { echo: ((call, reply) => reply(null, call.request)) as grpc.handleUnaryCall<Buffer, Buffer> },
  );
  const app = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  cleanup.add(() => server.forceShutdown());
  const world = await open(() => ({}), app);
  const client = new grpc.Client(`127.0.0.1:${world.port}`, grpc.credentials.createInsecure());
  cleanup.add(() => client.close());
  const call = (): Promise<string> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path, raw, raw, Buffer.from("echo"), (error, bytes) =>
        resolve(error ? (grpc.status[error.code] ?? "") : String(bytes)),
      );
    });
  await eventually(async () => expect(await call()).toBe("echo"));
  world.write(policy("all", "", abort(403)));
  await eventually(async () => expect(await call()).toBe("PERMISSION_DENIED"));
  world.write(limit(", sectionName: any", 1));
  await eventually(async () => expect(await call()).toBe("RESOURCE_EXHAUSTED"));
});

test("a policy for a route or Gateway that does not exist is named in the log", async () => {
  const world = await open(() => ({}));
  world.write(trafficPolicy("stray", `{ targetRefs: [ { kind: GRPCRoute, name: gone } ], ${abort(503)} }`));
  await eventually(() => expect(world.log()).toContain("is for GRPCRoute gone, which does not exist"));
});
