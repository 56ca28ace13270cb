import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import { fakeApp, startMecha as startNode, until } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import {
  ListInputBindingsResponseSchema,
  ListTopicSubscriptionsResponseSchema,
  TopicEventBulkRequestSchema,
  TopicEventBulkResponseSchema,
} from "../../src/wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { Cleanup, eventually, mecha, startMecha, startSidecar } from "../mecha-process.ts";

// Two runtimes, each with tokens of its own: whatever comes to the app carries the app's, and nobody else's.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const tokens = {
  ordersApi: "t0-orders-api",
  ordersApp: "t1-orders-app",
  shopApi: "t2-shop-api",
  shopApp: "t3-shop-app",
};

const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: tick }
spec: { type: bindings.cron, version: v1, metadata: [{ name: schedule, value: "@every 200ms" }] }
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: bulk }
scopes: [orders]
spec:
  pubsubname: pubsub
  topic: bulk
  routes: { default: /bulk }
  bulkSubscribe: { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 20 }
`;

interface Got {
  /** `POST /orders`, or a method's path. */
  what: string;
  headers: Record<string, unknown>;
}

/** The runtimes of `orders`, which has an app, and of `shop`, which calls it. */
async function start(appPort: number, protocol: "http" | "grpc") {
  const [folder, data] = [cleanup.folder(), cleanup.folder()];
  writeFileSync(join(folder, "resources.yaml"), resources);
  const run = async (appId: string, env: Record<string, string>, words: string[]) => {
    const started = await startSidecar({ appId, resources: folder, data, words, env });
    cleanup.process(started.process);
    const { httpPort, grpcPort } = started;
    return { httpPort, grpcPort, token: env.DAPR_API_TOKEN as string };
  };
  const app = ["--app-port", `${appPort}`, "--app-protocol", protocol, "--enable-app-health-check"];
  const health = ["--app-health-check-path", "/alive", "--app-health-probe-interval", "1"];
  const orders = await run("orders", { DAPR_API_TOKEN: tokens.ordersApi, APP_API_TOKEN: tokens.ordersApp }, [
    ...app,
    ...health,
  ]);
  const shop = await run("shop", { DAPR_API_TOKEN: tokens.shopApi, APP_API_TOKEN: tokens.shopApp }, []);
  const ask = async (from: typeof shop, line: string, body?: object): Promise<number> => {
    const [method, path] = line.split(" ");
    const headers = { "dapr-api-token": from.token, "content-type": "application/json" };
    const init = { method: method as string, headers, ...(body && { body: JSON.stringify(body) }) };
    const reply = await fetch(`http://127.0.0.1:${from.httpPort}${path}`, init);
    await reply.text();
    return reply.status;
  };
  for (const one of [orders, shop]) {
    await eventually(async () => expect(await ask(one, "GET /v1.0/healthz")).toBe(204));
  }
  return { orders, shop, data, ask };
}

type Runtimes = Awaited<ReturnType<typeof start>>;

async function publishAndSchedule({ orders, ask }: Runtimes): Promise<void> {
  for (const topic of ["single", "bulk"]) {
    expect(await ask(orders, `POST /v1.0/publish/pubsub/${topic}`, { n: 1 })).toBe(204);
  }
  const job = {
    dueTime: "0s",
    data: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: "x" },
  };
  expect(await ask(orders, "POST /v1.0-alpha1/jobs/once", job)).toBeLessThan(300);
}

/** All of `expected` came, with the token of the app, and with no other token anywhere. */
async function showTokens(got: readonly Got[], expected: string[]): Promise<void> {
  const seen = () => new Set(got.map(({ what }) => what));
  await eventually(() => expect([...seen()]).toEqual(expect.arrayContaining(expected)));
  for (const { what, headers } of got) {
    expect([what, headers["dapr-api-token"]]).toEqual([what, tokens.ordersApp]);
    const text = JSON.stringify(headers);
    for (const other of [tokens.ordersApi, tokens.shopApi, tokens.shopApp]) {
      expect(text, `${what} carries ${other}`).not.toContain(other);
    }
  }
}

test("every request to an HTTP app carries its token", async () => {
  const got: Got[] = [];
  const replies: Record<string, object> = {
    "GET /dapr/config": { entities: ["Cat"], actorIdleTimeout: "500ms" },
    "GET /dapr/subscribe": [{ pubsubname: "pubsub", topic: "single", route: "/single" }],
  };
  const app = http.createServer((request, reply) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const what = `${request.method} ${request.url}`;
      got.push({ what, headers: { ...request.headers } });
      const body = Buffer.concat(pieces).toString();
      const statuses = () =>
        JSON.parse(body).entries.map(({ entryId }: { entryId: string }) => ({ entryId, status: "SUCCESS" }));
      const answer = what === "POST /bulk" ? { statuses: statuses() } : (replies[what] ?? {});
      reply.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  cleanup.add(() => app.close());
  cleanup.add(() => app.closeAllConnections());
  const runtimes = await start((app.address() as AddressInfo).port, "http");
  const { orders, shop, data, ask } = runtimes;
  await publishAndSchedule(runtimes);
  for (const from of [orders, shop]) {
    const who = from === orders ? "self" : "shop";
    await eventually(async () => expect(await ask(from, `POST /v1.0/invoke/orders/method/${who}`)).toBe(200));
    await eventually(async () =>
      expect(await ask(from, `POST /v1.0/actors/Cat/${who}/method/feed`)).toBe(200),
    );
  }
  const alarm = { dueTime: "0s", data: "x" };
  expect(await ask(orders, "POST /v1.0/actors/Cat/self/timers/nap", alarm)).toBe(204);
  expect(await ask(orders, "POST /v1.0/actors/Cat/self/reminders/wake", alarm)).toBe(204);
  expect(await ask(orders, "GET /v1.0/configuration/configstore/subscribe?key=colour")).toBe(200);
  const set = ["configuration", "set", "colour", "red", "--data-dir", data];
  expect(await mecha(set)).toMatchObject({ code: 0 });
  await showTokens(got, [
    ...["GET /dapr/config", "GET /dapr/subscribe", "GET /alive", "OPTIONS /tick", "POST /tick"],
    ...["POST /single", "POST /bulk", "POST /job/once", "POST /self", "POST /shop"],
    ...["PUT /actors/Cat/self/method/feed", "PUT /actors/Cat/shop/method/feed"],
    ...["PUT /actors/Cat/self/method/timer/nap", "PUT /actors/Cat/self/method/remind/wake"],
    ...["DELETE /actors/Cat/self", "POST /configuration/configstore/colour"],
  ]);
}, 60_000);

const raw = (bytes: Buffer): Buffer => bytes;
const method = (path: string) => ({
  ...{ path, requestStream: false, responseStream: false },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
});
const bytesOf = <S extends DescMessage>(schema: S, value: MessageInitShape<S>): Buffer =>
  Buffer.from(toBinary(schema, create(schema, value)));

/** By grpc-js: the callbacks of an app, and a service of its own. */
async function grpcApp(got: Got[]): Promise<number> {
  const callback = "/dapr.proto.runtime.v1.AppCallback";
  const subscriptions = [{ pubsubName: "pubsub", topic: "single" }];
  const settled = (request: Buffer): Buffer => {
    const { entries } = fromBinary(TopicEventBulkRequestSchema, request);
    return bytesOf(TopicEventBulkResponseSchema, { statuses: entries.map(({ entryId }) => ({ entryId })) });
  };
  const answers: Record<string, (request: Buffer) => Buffer> = {
    [`${callback}/ListTopicSubscriptions`]: () =>
      bytesOf(ListTopicSubscriptionsResponseSchema, { subscriptions }),
    [`${callback}/ListInputBindings`]: () => bytesOf(ListInputBindingsResponseSchema, { bindings: ["tick"] }),
    [`${callback}/OnTopicEvent`]: () => Buffer.alloc(0),
    [`${callback}/OnBulkTopicEvent`]: settled,
    [`${callback}Alpha/OnBulkTopicEventAlpha1`]: settled,
    [`${callback}/OnBindingEvent`]: () => Buffer.alloc(0),
    [`${callback}/OnInvoke`]: () => Buffer.alloc(0),
    [`${callback}Alpha/OnJobEventAlpha1`]: () => Buffer.alloc(0),
    [`${callback}HealthCheck/HealthCheck`]: () => Buffer.alloc(0),
    "/shop.Cart/Get": () => Buffer.alloc(0),
  };
  const server = new grpc.Server();
  const paths = Object.keys(answers);
  server.addService(
    Object.fromEntries(paths.map((path) => [path, method(path)])),
    Object.fromEntries(
      paths.map((path) => [
        path,
        (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => {
          got.push({ what: path, headers: call.metadata.getMap() });
          reply(null, answers[path]?.(call.request));
        },
      ]),
    ),
  );
  cleanup.add(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
}

test("every call to a gRPC app carries its token", async () => {
  const got: Got[] = [];
  const runtimes = await start(await grpcApp(got), "grpc");
  await publishAndSchedule(runtimes);
  const request = bytesOf(Dapr.method.invokeService.input, {
    id: "orders",
    message: {
      method: "charge",
      data: create(AnySchema, { value: Buffer.from("x") }),
      httpExtension: { verb: HTTPExtension_Verb.POST },
    },
  });
  for (const { grpcPort, token } of [runtimes.orders, runtimes.shop]) {
    const client = new grpc.Client(`127.0.0.1:${grpcPort}`, grpc.credentials.createInsecure());
    cleanup.add(() => client.close());
    const metadata = new grpc.Metadata();
    metadata.set("dapr-api-token", token);
    metadata.set("dapr-app-id", "orders");
    const call = (path: string, body: Buffer) =>
      new Promise<number>((resolve) =>
        client.makeUnaryRequest(path, raw, raw, body, metadata, (error) => resolve(error?.code ?? 0)),
      );
    await eventually(async () => expect(await call("/shop.Cart/Get", Buffer.alloc(0))).toBe(0));
    expect(await call("/dapr.proto.runtime.v1.Dapr/InvokeService", request)).toBe(0);
  }
  const callbacks =
    "ListTopicSubscriptions ListInputBindings OnTopicEvent OnBindingEvent OnInvoke OnBulkTopicEvent";
  await showTokens(got, [
    ...callbacks.split(" ").map((name) => `/dapr.proto.runtime.v1.AppCallback/${name}`),
    "/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1",
    "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
    "/shop.Cart/Get",
  ]);
  expect(got.filter(({ what }) => what === "/shop.Cart/Get")).toHaveLength(2);
}, 60_000);

/** One runtime of each kind of app, with tokens from files. */
async function rotating(apiTokens: string, appTokens: string) {
  const folder = cleanup.folder();
  const files = { api: join(folder, "api"), app: join(folder, "app") };
  const write = (file: keyof typeof files, text: string) => writeFileSync(files[file], text);
  write("api", apiTokens);
  write("app", appTokens);
  const app = await fakeApp({ otherwise: ({ header }) => ({ body: header("dapr-api-token") ?? "none" }) });
  cleanup.add(() => app.close());
  const got: Got[] = [];
  const options = { apiTokenFile: files.api, appTokenFile: files.app };
  const grpcOptions = { ...options, appProtocol: "grpc" as const };
  const node = await startNode({
    apps: [
      { appId: "web", app, options },
      { appId: "rpc", app: await grpcApp(got), options: grpcOptions },
    ],
  });
  cleanup.add(() => node.stop());
  const client = new grpc.Client(`127.0.0.1:${node.ports("rpc").grpc}`, grpc.credentials.createInsecure());
  cleanup.add(() => client.close());
  /** What the app was shown, or how the API refused. */
  const http = async (token: string) => {
    const headers = { "dapr-api-token": token };
    const reply = await node.http("web", "POST /v1.0/invoke/web/method/x", { headers });
    return reply.status === 200 ? reply.text : reply.status;
  };
  const rpc = (token: string, path = "/shop.Cart/Get") =>
    new Promise<unknown>((resolve) => {
      const metadata = new grpc.Metadata();
      metadata.set("dapr-api-token", token);
      metadata.set("dapr-app-id", "rpc");
      client.makeUnaryRequest(path, raw, raw, Buffer.alloc(0), metadata, (error) =>
        resolve(error ? grpc.status[error.code] : got.at(-1)?.headers["dapr-api-token"]),
      );
    });
  return { node, write, http, rpc, files };
}

test("tokens rotate without a restart: the old one counts as long as its file has it", async () => {
  const { node, write, http, rpc } = await rotating("old-api\n", "old-app\n");
  const health = "/grpc.health.v1.Health/Check";
  expect([await http("old-api"), await rpc("old-api")]).toEqual(["old-app", "old-app"]);
  expect([await http("new-api"), await rpc("new-api")]).toEqual([401, "UNAUTHENTICATED"]);
  write("api", "# not a comment");
  await until(() => node.log().includes("a token is printable ASCII"), "the refusal of a wrong file");
  write("api", "\n\n");
  await until(() => node.log().includes("holds no token"), "the refusal of an empty file");
  expect([await http("old-api"), await http("")]).toEqual(["old-app", 401]);
  write("api", "new-api\r\nold-api\r\n");
  await until(async () => (await http("new-api")) === "old-app", "the new token");
  await until(async () => (await rpc("new-api")) === "old-app", "the new token over gRPC");
  expect([await http("old-api"), await rpc("old-api")]).toEqual(["old-app", "old-app"]);
  write("app", "new-app\nold-app\n");
  await until(async () => (await http("new-api")) === "new-app", "the app's new token");
  await until(async () => (await rpc("new-api")) === "new-app", "the app's new token over gRPC");
  write("api", "new-api\n");
  await until(async () => (await http("old-api")) === 401, "the end of the old token");
  await until(async () => (await rpc("old-api")) === "UNAUTHENTICATED", "its end over gRPC");
  expect([await rpc("old-api", health), await http("new-api")]).toEqual(["UNAUTHENTICATED", "new-app"]);
  for (const token of ["old-api", "new-api", "old-app", "new-app"]) expect(node.log()).not.toContain(token);
});

test("a token file without token, or beside a token, is an error at start", async () => {
  const folder = cleanup.folder();
  const file = join(folder, "tokens");
  writeFileSync(file, " \n");
  const run = async (env: Record<string, string>) =>
    await mecha(["run", "--app-id", "a", "--data-dir", folder], { env });
  const empty = await run({ DAPR_API_TOKEN_FILE: file });
  expect(empty.code).not.toBe(0);
  expect(empty.output).toContain("tokens holds no token: write one a line");
  const missing = await run({ APP_API_TOKEN_FILE: join(folder, "nowhere") });
  expect(missing.code).not.toBe(0);
  expect(missing.output).toContain("nowhere");
  const both = await run({ DAPR_API_TOKEN_FILE: file, DAPR_API_TOKEN: "x" });
  expect([both.code, both.output]).toEqual([
    2,
    expect.stringContaining("DAPR_API_TOKEN and DAPR_API_TOKEN_FILE are both set"),
  ]);
});

test("the first token of a file is what the app of mecha run and the commands use", async () => {
  const folder = cleanup.folder();
  const file = join(folder, "tokens");
  writeFileSync(file, "first\nsecond\n");
  const env = { DAPR_API_TOKEN_FILE: file, PATH: process.env.PATH ?? "" };
  const words = ["--app-id", "a", "--data-dir", folder];
  const show = ["sh", "-c", "echo the token is $DAPR_API_TOKEN; exec sleep 60"];
  const running = cleanup.process(startMecha(["run", ...words, "--", ...show], { env }));
  await running.printed("the token is first");
  const publish = ["publish", ...words, "--pubsub", "pubsub", "--topic", "t", "--data", "1"];
  expect(await mecha(publish, { env })).toMatchObject({ code: 0 });
  expect((await mecha(publish)).output).toContain("DAPR_API_TOKEN_FILE");
});
