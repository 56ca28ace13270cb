import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb, InvokeResponseSchema } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { InvokeServiceRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/invoke_pb.js";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { grpcApi } from "./grpc-api.ts";

// WebSockets and backends that speak HTTP/2 without TLS, by a route and by a Gateway. The other ends are Bun's WebSocket
// and node:http2.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

let mecha: TestMecha;
let gatewayPort: number;
let write: (...documents: string[]) => void;
/** What the app on HTTP/2 saw. */
let streams: { version: string; path: string; header(name: string): string | undefined }[] = [];
/** Headers of the handshakes that the app of the WebSockets got. */
let handshakes: Headers[] = [];

beforeEach(async () => {
  streams = [];
  handshakes = [];
  gatewayPort = await freePort();
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  write = (...documents) => writeFileSync(join(folder, "all.yaml"), documents.join("\n---\n"));
  write();
  const h2c = { labels: { version: "v2" }, appProtocol: "h2c" as const };
  mecha = await startMecha({
    apps: [
      { appId: "caller", options: { resourcesPaths: [folder] } },
      { appId: "chat", app: chatApp(), options: { labels: { version: "v1" } } },
      { appId: "stream", app: await http2App(), options: h2c },
    ],
  });
  cleanup.add(() => mecha.stop());
});

/** Answers what it gets, with its own name in front. */
function chatApp(): number {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, own) {
      handshakes.push(request.headers);
      if (new URL(request.url).pathname.endsWith("/refused")) return new Response("no", { status: 403 });
      return own.upgrade(request, { headers: { "X-Drop": "1" } }) ? undefined : new Response("plain");
    },
    websocket: {
      message(socket, message) {
        socket.send(typeof message === "string" ? `chat: ${message}` : message);
      },
    },
  });
  cleanup.add(() => server.stop(true));
  return server.port as number;
}

/** Answers each piece of a body when it comes. */
async function http2App(): Promise<number> {
  const server = http2.createServer();
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    const header = (name: string) => headers[name]?.toString();
    streams.push({ version: "2.0", path: headers[":path"] ?? "", header });
    stream.respond({ ":status": headers[":path"] === "/broken" ? 503 : 200, "x-version": "2.0" });
    stream.on("data", (bytes: Buffer) => stream.write(`h2: ${bytes}`));
    stream.on("end", () => stream.end());
  });
  cleanup.add(() => server.close());
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return (server.address() as AddressInfo).port;
}

function document(kind: string, name: string, spec: object): string {
  return `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${JSON.stringify(spec)}`;
}

/** Calls of `shop`, and requests to a Gateway, by the same rules. */
function route(...rules: object[]): string {
  const listeners = [{ name: "web", protocol: "HTTP", port: gatewayPort }];
  const parentRefs = [{ kind: "App", group: "mecha.run", name: "shop" }, { name: "front" }];
  return [
    document("Gateway", "front", { gatewayClassName: "mecha", listeners }),
    document("HTTPRoute", "r", { parentRefs, rules }),
  ].join("\n---\n");
}

const version = (name: string) => [{ kind: "AppVersion", group: "mecha.run", name }];
const at = (value: string) => [{ path: { value } }];

/** By a call of `shop`, and by the Gateway. */
const ways = [
  ["a route", () => `127.0.0.1:${mecha.ports("caller").http}/v1.0/invoke/shop/method`],
  ["a Gateway", () => `127.0.0.1:${gatewayPort}`],
] as const;

async function connect(url: string): Promise<{ socket: WebSocket; messages: unknown[] }> {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const messages: unknown[] = [];
  socket.addEventListener("message", ({ data }) => void messages.push(data));
  cleanup.add(() => socket.close());
  await new Promise<void>((opened, failed) => {
    socket.addEventListener("open", () => opened());
    socket.addEventListener("error", () => failed(new Error("no handshake")));
  });
  return { socket, messages };
}

test.each(ways)("a WebSocket by %s: filters act on the handshake, timeouts end with it", async (_, base) => {
  const filters = [
    { type: "RequestHeaderModifier", requestHeaderModifier: { set: [{ name: "X-Set", value: "new" }] } },
    { type: "ResponseHeaderModifier", responseHeaderModifier: { remove: ["x-drop"] } },
  ];
  write(
    route(
      { matches: at("/chat"), filters, backendRefs: version("chat-v1"), timeouts: { request: "300ms" } },
      { backendRefs: version("nobody-v1") },
    ),
  );
  await eventually(async () => expect((await fetch(`http://${base()}/chat/plain`)).status).toBe(200));
  const { socket, messages } = await connect(`ws://${base()}/chat/room`);
  expect(handshakes.at(-1)?.get("x-set")).toBe("new");
  socket.send("one");
  await eventually(() => expect(messages).toEqual(["chat: one"]));
  // Longer than the timeout of the rule, which was for the answer.
  await new Promise((later) => setTimeout(later, 500));
  const blob = new Uint8Array(300_000).fill(7);
  socket.send(blob);
  await eventually(() => expect(messages).toHaveLength(2));
  expect(new Uint8Array(messages[1] as ArrayBuffer)).toEqual(blob);
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  socket.close();
  await closed;
  expect(String(await connect(`ws://${base()}/chat/refused`).catch((error) => error))).toContain(
    "no handshake",
  );
  expect(String(await connect(`ws://${base()}/else`).catch((error) => error))).toContain("no handshake");
});

test.each(ways)(
  "policies of %s are asked once for a WebSocket, and not for its messages",
  async (_, base) => {
    const rules = { name: "own", matches: at("/chat"), backendRefs: version("chat-v1") };
    const limits = `apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: two }
spec:
  targetRefs: [ { kind: HTTPRoute, name: r, sectionName: own }, { kind: AppVersion, name: chat-v1 } ]
  direction: outbound
  limits: [ { requests: 2, per: 1h } ]`;
    const retries = `apiVersion: mecha.run/v1alpha1
kind: TrafficPolicy
metadata: { name: t }
spec:
  targetRefs: [ { kind: HTTPRoute, name: r }, { kind: AppVersion, name: chat-v1 } ]
  retries: { attempts: 2, retryOn: "5xx", perTryTimeout: 300ms }
  circuitBreaker: {}`;
    write(route(rules), limits, retries);
    await eventually(async () => {
      const { socket, messages } = await connect(`ws://${base()}/chat`);
      for (let i = 0; i < 5; i++) socket.send(`${i}`);
      await eventually(() => expect(messages).toHaveLength(5));
    });
    await (await connect(`ws://${base()}/chat`)).socket.close();
    expect(String(await connect(`ws://${base()}/chat`).catch((error) => error))).toContain("no handshake");
    expect((await fetch(`http://${base()}/chat`)).status).toBe(429);
  },
);

test.each(ways)("a backend that speaks HTTP/2 without TLS is reached by %s, and streams", async (_, base) => {
  write(
    route({
      filters: [
        { type: "RequestHeaderModifier", requestHeaderModifier: { add: [{ name: "x-set", value: "1" }] } },
      ],
      backendRefs: version("stream-v2"),
      retry: { codes: [503], attempts: 2, backoff: "1ms" },
      timeouts: { request: "20s" },
    }),
  );
  await eventually(async () =>
    expect((await fetch(`http://${base()}/x`)).headers.get("x-version")).toBe("2.0"),
  );
  expect(streams.at(-1)?.header("x-set")).toBe("1");
  let send = (_text: string): void => {};
  let end = (): void => {};
  const body = new ReadableStream({
    start(controller) {
      send = (text) => controller.enqueue(Buffer.from(text));
      end = () => controller.close();
    },
  });
  send("one");
  const answer = await fetch(`http://${base()}/y`, { method: "POST", body });
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  const read = async (): Promise<string> => Buffer.from((await reader.read()).value ?? []).toString();
  expect(await read()).toBe("h2: one");
  send("two");
  expect(await read()).toBe("h2: two");
  end();
  expect((await reader.read()).done).toBe(true);
  const before = streams.length;
  expect((await fetch(`http://${base()}/broken`, { method: "POST", body: "again" })).status).toBe(503);
  expect(streams.length - before).toBe(3);
});

test("InvokeService reaches it by a route too", async () => {
  write(route({ backendRefs: version("stream-v2") }));
  const api = grpcApi(mecha, "caller");
  cleanup.add(() => api.close());
  const message = {
    method: "x",
    data: { value: Buffer.from("1") },
    httpExtension: { verb: HTTPExtension_Verb.POST },
  };
  await eventually(async () => {
    const request = create(InvokeServiceRequestSchema, { id: "shop", message });
    const bytes = await api.call("InvokeService", InvokeServiceRequestSchema, request);
    expect(Buffer.from(fromBinary(InvokeResponseSchema, bytes).data?.value ?? []).toString()).toBe("h2: 1");
  });
  expect(streams.at(-1)?.path).toBe("/x");
});

test("HTTP/2 from outside to HTTP/2 behind: a Gateway keeps both", async () => {
  write(route({ backendRefs: version("stream-v2") }));
  await eventually(async () => expect((await fetch(`http://127.0.0.1:${gatewayPort}/x`)).status).toBe(200));
  const session = http2.connect(`http://127.0.0.1:${gatewayPort}`);
  cleanup.add(() => session.close());
  const stream = session.request({ ":method": "POST", ":path": "/both?a=1" });
  let text = "";
  stream.on("data", (bytes) => {
    text += bytes;
  });
  stream.write("one");
  await eventually(() => expect(text).toBe("h2: one"));
  stream.end("two");
  await eventually(() => expect(text).toBe("h2: oneh2: two"));
  expect(streams.at(-1)?.path).toBe("/both?a=1");
});
