// Which header lines pass a hop, and that no value becomes a line of its own (security.md §4.5, SEC-H3 and SEC-H5).
import { afterAll, beforeAll, expect, test } from "bun:test";
import http2 from "node:http2";
import net from "node:net";
import { create, type DescMethodUnary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { openHttp2, sendRaw } from "./wire.ts";

/** Of one connection (RFC 9110 §7.6.1, and what proxies take for such); the values are found again by their mark. */
const hopByHop: Record<string, string> = {
  connection: "x-named",
  "keep-alive": "timeout=5, hop=1",
  "proxy-connection": "hop-keep",
  "proxy-authenticate": "Basic realm=hop",
  "proxy-authorization": "Basic hop",
  te: "trailers, hop;q=1",
  trailer: "x-hop",
  upgrade: "hop/1",
  "http2-settings": "hopAAMAAABk",
};
const named = "x-named: hop-named";
const legalInHttp2 = ["proxy-authenticate", "proxy-authorization", "trailer", "http2-settings"];

/** An app on a bare socket: every byte it gets is kept, and every answer carries lines of one connection. */
interface BareApp {
  readonly port: number;
  received: string;
  close(): void;
}

async function bareApp(): Promise<BareApp> {
  const app = { port: 0, received: "", close: () => void server.close() };
  const lines = Object.entries(hopByHop).map(([name, value]) => `${name}: ${value}\r\n`);
  const server = net.createServer((socket) => {
    let held = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      held += chunk.toString("latin1");
      const end = held.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(held)?.[1] ?? 0);
      if (end < 0 || held.length < end + 4 + length) return;
      const isOwn = /^(?:GET|OPTIONS) \/(?:dapr|healthz)/.test(held);
      if (held.startsWith("GET /dapr/config")) {
        const config = JSON.stringify({ entities: ["Cat"] });
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${config.length}\r\n\r\n${config}`);
      } else if (isOwn) socket.write("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n");
      else {
        app.received += held;
        socket.write(
          `HTTP/1.1 200 OK\r\n${lines.join("")}${named}\r\nx-kept: yes\r\nContent-Length: 2\r\n\r\nok`,
        );
      }
      held = held.slice(end + 4 + length);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  app.port = (server.address() as net.AddressInfo).port;
  return app;
}

let app: BareApp;
let grpcApp: http2.Http2Server;
let grpcSeen: http2.IncomingHttpHeaders[] = [];
let mecha: TestMecha;

const subscription = (topic: string, raw: string) => `
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: ${topic} }
spec: { pubsubname: pubsub, topic: ${topic}, routes: { default: /${topic} }, metadata: { rawPayload: "${raw}" } }
scopes: [web]`;

beforeAll(async () => {
  app = await bareApp();
  grpcApp = http2.createServer();
  grpcApp.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    if (headers[":path"]?.startsWith("/basket.")) grpcSeen.push(headers);
    const extra = Object.fromEntries(legalInHttp2.map((name) => [name, hopByHop[name] as string]));
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", ...extra, "x-kept": "yes" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.alloc(5));
  });
  await new Promise<void>((done) => grpcApp.listen(0, "127.0.0.1", done));
  const rpc = (grpcApp.address() as net.AddressInfo).port;
  mecha = await startMecha({
    apps: [
      { appId: "web", app: app.port },
      { appId: "caller" },
      { appId: "rpc", app: rpc, options: { appProtocol: "grpc" } },
    ],
    resources: `
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: { name: outside }
spec: { baseUrl: "http://127.0.0.1:${app.port}" }
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: send }
spec: { type: bindings.http, version: v1, metadata: [{ name: url, value: "http://127.0.0.1:${app.port}" }] }${subscription("raw", "true")}${subscription("events", "false")}
`,
  });
  await until(
    async () => (await mecha.http("caller", "GET /v1.0/invoke/web/method/x")).status === 200,
    "the app",
  );
});

afterAll(async () => {
  await mecha.stop();
  app.close();
  grpcApp.close();
});

const routes = [
  ["web", "web"],
  ["caller", "web"],
  ["caller", "outside"],
] as const;

test.each(routes)(
  "SEC-H3: over HTTP/1 no line of one connection passes from %s to %s or back",
  async (from, to) => {
    for (const [name, value] of Object.entries(hopByHop)) {
      for (const spelt of [name, name.toUpperCase(), name.replace(/^./, (first) => first.toUpperCase())]) {
        app.received = "";
        const line = name === "connection" ? `${spelt}: ${value}\r\n${named}` : `${spelt}: ${value}`;
        const request = `GET /v1.0/invoke/${to}/method/x HTTP/1.1\r\nHost: localhost\r\n${line}\r\nx-kept: yes\r\n\r\n`;
        const answer = await sendRaw(mecha.ports(from).http, request);
        expect([line, app.received]).toEqual([line, expect.stringMatching(/x-kept: yes/i)]);
        expect([line, /^.*hop.*$/im.exec(app.received)?.[0]]).toEqual([line, undefined]);
        expect(answer).toMatch(/^HTTP\/1.1 200[\s\S]*x-kept: yes/i);
        expect([line, /^.*hop.*$/im.exec(answer)?.[0]]).toEqual([line, undefined]);
      }
    }
  },
);

test("SEC-H3: over HTTP/2 and gRPC neither", async () => {
  const client = openHttp2(mecha.ports("caller").http);
  const grpc = http2.connect(`http://127.0.0.1:${mecha.ports("caller").grpc}`);
  for (const name of legalInHttp2) {
    const value = hopByHop[name] as string;
    app.received = "";
    const path = "/v1.0/invoke/web/method/x";
    const answer = await client.request({ ":method": "GET", ":path": path, [name]: value, "x-kept": "yes" });
    expect([name, answer.status, app.received]).toEqual([name, 200, expect.stringMatching(/x-kept: yes/i)]);
    expect([name, /hop/i.test(app.received), /hop/i.test(JSON.stringify(answer.headers))]).toEqual([
      name,
      false,
      false,
    ]);
    grpcSeen = [];
    const headers = await new Promise<object>((resolve) => {
      const stream = grpc.request({
        ...{
          ":method": "POST",
          ":path": "/basket.Cart/Get",
          "content-type": "application/grpc",
          te: "trailers",
        },
        ...{ "dapr-app-id": "rpc", [name]: value, "x-kept": "yes" },
      });
      stream.on("response", resolve);
      stream.resume();
      stream.end(Buffer.alloc(5));
    });
    expect([name, grpcSeen.length, grpcSeen[0]?.["x-kept"]]).toEqual([name, 1, "yes"]);
    expect([name, /hop/i.test(JSON.stringify(grpcSeen)), /hop/i.test(JSON.stringify(headers))]).toEqual([
      name,
      false,
      false,
    ]);
  }
  client.close();
  grpc.destroy();
});

/** What may make a line of a value: real line ends, and what becomes one when bytes are cut or decoded again. */
const injections = [
  ...[
    "a\r\nInjected: 1",
    "a\nInjected: 1",
    "a\rInjected: 1",
    "a\0Injected: 1",
    "a\r\n\r\nGET /injected HTTP/1.1\r\nHost: a\r\n\r\n",
  ],
  ...[
    "a\u010d\u010aInjected: 1",
    "a\u560d\u560aInjected: 1",
    "a\u2028Injected: 1",
    "a\x85Injected: 1",
    "a%0d%0aInjected: 1",
    "a\\r\\nInjected: 1",
  ],
  ...[
    "a\x0b\x0cInjected: 1",
    "\r\nInjected: 1",
    "a\r\n Injected: 1",
    "a\ud83d\udcaa\r\nInjected: 1",
    "a\x7f\x80\xff\r\nInjected: 1",
    "a\tb\r\n\tInjected: 1",
  ],
];

function call<I extends DescMethodUnary>(
  method: I,
  request: MessageInitShape<I["input"]>,
  metadata: [string, string][] = [],
) {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("web").grpc });
  const path = `/${method.parent.typeName}/${method.name}`;
  const bytes = toBinary(method.input, create(method.input, request) as never);
  return client
    .unary(path, bytes, { timeoutMs: 10_000, metadata })
    .then(
      () => undefined,
      () => undefined,
    )
    .finally(() => client.close());
}

/** Every way on which text of a caller becomes a header, or comes near to one. */
const ways: Record<string, (text: string) => Promise<unknown>> = {
  "binding metadata": (text) =>
    mecha.http("web", "POST /v1.0/bindings/send", {
      body: { operation: "post", data: "x", metadata: { "X-Text": text } },
    }),
  "binding metadata's name": (text) =>
    mecha.http("web", "POST /v1.0/bindings/send", {
      body: { operation: "post", data: "x", metadata: { [`X-${text}`]: "1" } },
    }),
  "binding trace": (text) =>
    mecha.http("web", "POST /v1.0/bindings/send", {
      body: { operation: "post", data: "x", metadata: { traceparent: text, baggage: text } },
    }),
  "binding path": (text) =>
    mecha.http("web", "POST /v1.0/bindings/send", { body: { operation: "get", metadata: { path: text } } }),
  "content type of a call": (text) =>
    call(Dapr.method.invokeService, {
      id: "web",
      message: { method: "x", contentType: text, httpExtension: { verb: HTTPExtension_Verb.POST } },
    }),
  "query of a call": (text) =>
    call(Dapr.method.invokeService, {
      id: "web",
      message: { method: "x", httpExtension: { verb: HTTPExtension_Verb.GET, querystring: text } },
    }),
  "method of a call": (text) =>
    call(Dapr.method.invokeService, {
      id: "web",
      message: { method: text, httpExtension: { verb: HTTPExtension_Verb.GET } },
    }),
  "metadata of a call": (text) =>
    call(
      Dapr.method.invokeService,
      { id: "web", message: { method: "x", httpExtension: { verb: HTTPExtension_Verb.GET } } },
      [["x-text", text]],
    ),
  "metadata of an actor's call": (text) =>
    call(Dapr.method.invokeActor, {
      actorType: "Cat",
      actorId: "tom",
      method: "feed",
      metadata: { "x-text": text, [text]: "1" },
    }),
  "name of an actor": (text) =>
    call(Dapr.method.invokeActor, { actorType: "Cat", actorId: text, method: text }),
  "content type of an event": (text) =>
    call(Dapr.method.publishEvent, {
      pubsubName: "pubsub",
      topic: "raw",
      data: Buffer.from("x"),
      dataContentType: text,
      metadata: { rawPayload: "true" },
    }),
  "metadata of an event": (text) =>
    call(Dapr.method.publishEvent, {
      pubsubName: "pubsub",
      topic: "events",
      data: Buffer.from("x"),
      metadata: {
        "cloudevent.id": text,
        "cloudevent.traceparent": text,
        "cloudevent.tracestate": text,
        "cloudevent.type": text,
      },
    }),
  "an event itself": (text) =>
    mecha.http("web", "POST /v1.0/publish/pubsub/events", {
      headers: { "content-type": "application/cloudevents+json" },
      body: JSON.stringify({
        specversion: "1.0",
        id: text,
        type: text,
        source: text,
        traceparent: text,
        tracestate: text,
        baggage: text,
        data: "x",
      }),
    }),
  "query metadata": (text) =>
    mecha.http(
      "web",
      `POST /v1.0/publish/pubsub/raw?metadata.rawPayload=true&metadata.x-text=${encodeURIComponent(text.replace(/[\ud800-\udfff]/g, ""))}`,
      { body: { x: 1 } },
    ),
};

test.each(Object.keys(ways).map((name) => [name]))("SEC-H5: no line is injected by the %s", async (name) => {
  const way = ways[name] as (text: string) => Promise<unknown>;
  app.received = "";
  for (const text of injections) await way(text);
  // What is delivered later comes before this.
  await mecha.http("web", "GET /v1.0/invoke/web/method/last");
  await until(() => app.received.includes("/last"), "the last request");
  if (/event|query/.test(name)) {
    await mecha.http("web", "POST /v1.0/publish/pubsub/events", { body: { marker: "the end" } });
    await until(() => app.received.includes("the end"), "the events");
  }
  const heads = app.received.split("\r\n\r\n").filter((part) => /HTTP\/1\.1\r\n/.test(part));
  expect(
    heads
      .flatMap((head) => head.split(/[\r\n\0]+/))
      .filter((line) => /^\s*(?:injected:|get \/injected http)/i.test(line)),
  ).toEqual([]);
});
