// Clients that take and never give back, on the HTTP and gRPC ports of a runtime that serves others meanwhile
// (security.md §4.11, SEC-D3). Single frames are flooded in src/net/http2/attacks.test.ts.
import { afterAll, beforeAll, expect, test } from "bun:test";
import net from "node:net";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createHttpServer } from "../../src/net/http1/index.ts";
import {
  clientPreface,
  flag,
  frame,
  frameType,
  numberFrame,
  setting,
  settingsFrame,
} from "../../src/net/http2/frames.ts";
import { HeaderEncoder } from "../../src/net/http2/header-encoder.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";

let app: FakeApp;
let mecha: TestMecha;

beforeAll(async () => {
  app = await fakeApp({ otherwise: () => ({ body: "x".repeat(10_000) }) });
  mecha = await startMecha({ apps: [{ appId: "shop", app }] });
  await until(
    async () => (await mecha.http("shop", "GET /v1.0/invoke/shop/method/x")).status === 200,
    "the app",
  );
});

afterAll(async () => {
  await mecha.stop();
  await app.close();
});

/** Honest calls of both protocols, until told to stop; what went wrong with them. */
function honest() {
  const { http, grpc } = mecha.ports("shop");
  const client = createGrpcClient({ host: "127.0.0.1", port: grpc });
  const failures: string[] = [];
  let calls = 0;
  let isOver = false;
  const loop = async () => {
    while (!isOver) {
      const answer = await mecha.http("shop", "GET /v1.0/invoke/shop/method/x").catch(String);
      if (typeof answer === "string" || answer.status !== 200) failures.push(JSON.stringify(answer));
      const path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
      await client
        .unary(path, Buffer.alloc(0), { timeoutMs: 30_000 })
        .catch((error) => failures.push(String(error)));
      calls++;
    }
  };
  const running = loop();
  return {
    ports: { http, grpc },
    get calls() {
      return calls;
    },
    async stop(): Promise<string[]> {
      isOver = true;
      await running;
      client.close();
      return failures;
    },
  };
}

interface Attacker {
  /** Whether the runtime has ended the connection. */
  isEnded: boolean;
  received: string;
  socket: net.Socket;
}

/** Sends pieces as fast as they are taken, until the connection is ended. */
function attack(port: number, pieces: Iterable<Uint8Array>, isDeaf = false): Attacker {
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
  const attacker: Attacker = { isEnded: false, received: "", socket };
  socket.on("error", () => undefined);
  socket.on("close", () => {
    attacker.isEnded = true;
  });
  if (isDeaf) socket.pause();
  else
    socket.on("data", (chunk: Buffer) => {
      if (attacker.received.length < 4_096) attacker.received += chunk.toString("latin1");
    });
  socket.on("connect", async () => {
    for (const piece of pieces) {
      if (socket.destroyed) return;
      if (!socket.write(piece)) await new Promise((done) => socket.once("drain", done).once("close", done));
      else await new Promise<void>((done) => setImmediate(done));
    }
  });
  return attacker;
}

function* repeated(count: number, piece: (index: number) => Uint8Array): Generator<Uint8Array> {
  for (let i = 0; i < count; i += 100)
    yield Buffer.concat(Array.from({ length: 100 }, (_, at) => piece(i + at)));
}

function* http2(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  yield Buffer.concat([clientPreface, settingsFrame([])]);
  yield* pieces;
}

const text = (value: string) => Buffer.from(value, "latin1");
const head = (path: string, encoder = new HeaderEncoder()) =>
  encoder.encode({
    ...{ ":method": "GET", ":scheme": "http", ":path": path, ":authority": "localhost" },
  });
const open = (id: number, path = "/v1.0/invoke/shop/method/x") =>
  frame(frameType.headers, flag.endHeaders | flag.endStream, id, head(path));
const line = "GET /v1.0/metadata HTTP/1.1\r\nHost: localhost\r\n";

/** Floods that have to be answered by the end of their connection. */
const floods: [string, () => Iterable<Uint8Array>][] = [
  [
    "a header that never ends",
    () => [text(line), ...Array.from({ length: 200 }, (_, i) => text(`X-${i}: ${"a".repeat(1_000)}\r\n`))],
  ],
  ["a thousand small headers", () => [text(line), text("a: b\r\n".repeat(2_000))]],
  [
    "a target that never ends",
    () => [text("GET /"), ...Array.from({ length: 200 }, () => text("a".repeat(1_000)))],
  ],
  [
    "a chunk extension that never ends",
    () => [
      text(`POST /v1.0/state/statestore HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;`),
      ...Array.from({ length: 200 }, () => text("a".repeat(1_000))),
    ],
  ],
  [
    "trailers that never end",
    () => [
      text(
        `POST /v1.0/state/statestore HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n`,
      ),
      ...Array.from({ length: 200 }, (_, i) => text(`X-${i}: ${"a".repeat(1_000)}\r\n`)),
    ],
  ],
  [
    "a body beyond the limit",
    () => [
      text(`POST /v1.0/state/statestore HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n`),
      ...Array.from({ length: 400 }, () => text(`10000\r\n${"a".repeat(65_536)}\r\n`)),
    ],
  ],
  [
    "rapid reset",
    () =>
      http2(
        repeated(40_000, (i) =>
          Buffer.concat([open(i * 2 + 1, "/v1.0/healthz"), numberFrame(frameType.rstStream, i * 2 + 1, 8)]),
        ),
      ),
  ],
  [
    "CONTINUATION",
    () =>
      http2([
        frame(frameType.headers, 0, 1, head("/")),
        ...repeated(2_000, () => frame(frameType.continuation, 0, 1, Buffer.alloc(8_000))),
      ]),
  ],
  ["SETTINGS", () => http2(repeated(60_000, () => settingsFrame([[setting.initialWindowSize, 70_000]])))],
  ["PING", () => http2(repeated(60_000, () => frame(frameType.ping, 0, 0, Buffer.alloc(8))))],
  [
    "empty DATA",
    () =>
      http2([
        frame(frameType.headers, flag.endHeaders, 1, head("/x")),
        ...repeated(60_000, () => frame(frameType.data, 0, 1, Buffer.alloc(0))),
      ]),
  ],
];

test.each(floods)(
  "SEC-D3: %s on the HTTP port ends its connection, and no honest call fails",
  async (_, pieces) => {
    const calls = honest();
    const attackers = [attack(calls.ports.http, pieces()), attack(calls.ports.http, pieces())];
    await until(
      () => attackers.every(({ isEnded }) => isEnded),
      "the end of the attackers' connections",
      30_000,
    );
    const before = calls.calls;
    await until(() => calls.calls > before + 3, "honest calls to go on", 30_000);
    expect(await calls.stop()).toEqual([]);
  },
);

test.each(floods.filter(([name]) => /rapid|CONT|SETT|PING|empty/.test(name)))(
  "SEC-D3: %s on the gRPC port",
  async (_, pieces) => {
    const calls = honest();
    const attacker = attack(calls.ports.grpc, pieces());
    await until(() => attacker.isEnded, "the end of the attacker's connection", 30_000);
    expect(await calls.stop()).toEqual([]);
  },
);

test("SEC-D3: 500 connections that hold half a message, a window of nothing or nothing at all hinder nobody", async () => {
  const calls = honest();
  const { http, grpc } = calls.ports;
  const before = process.memoryUsage().rss;
  const halves = [
    () => attack(http, [text(line)]),
    () => attack(http, [text("G")]),
    () => attack(http, []),
    () =>
      attack(http, [
        text("POST /v1.0/state/statestore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n["),
      ]),
    () => attack(http, [text("PRI * HT")]),
    () => attack(grpc, [clientPreface.subarray(0, 10)]),
    () => attack(grpc, [Buffer.concat([clientPreface, settingsFrame([[setting.initialWindowSize, 0]])])]),
    // Asks for answers and takes none: what cannot be sent is not fetched either.
    () =>
      attack(http, [
        Buffer.concat([
          clientPreface,
          settingsFrame([[setting.initialWindowSize, 0]]),
          ...Array.from({ length: 90 }, (_, i) => open(i * 2 + 1)),
        ]),
      ]),
    () =>
      attack(
        http,
        [text(`GET /v1.0/invoke/shop/method/x HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(50))],
        true,
      ),
    () => attack(http, http2([frame(frameType.headers, 0, 1, head("/x"))])),
  ];
  const attackers = Array.from({ length: 500 }, (_, i) => (halves[i % halves.length] as () => Attacker)());
  const at = calls.calls;
  await until(() => calls.calls > at + 20, "honest calls to go on", 50_000);
  expect(await calls.stop()).toEqual([]);
  expect(process.memoryUsage().rss - before).toBeLessThan(400_000_000);
  for (const { socket } of attackers) socket.destroy();
});

test("SEC-D3: who is slow with a head, a body or the next request is let go", async () => {
  const times = { headTimeoutMs: 200, keepAliveTimeoutMs: 200, stallTimeoutMs: 200 };
  const handler = async (request: { body: { bytes(limit: number): Uint8Array | Promise<Uint8Array> } }) => {
    await request.body.bytes(1_000_000);
    return { status: 200, headers: [], body: "ok" };
  };
  const server = createHttpServer({ handler, ...times });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  const port = "port" in bound ? bound.port : 0;
  const slow = [
    attack(port, [text("GET / HTTP/1.1\r\nX: ")]),
    attack(port, [text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")]),
    attack(port, [text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")]),
    attack(port, [text("GET / HTTP/1.1\r\nHost: a\r\n\r\n")]),
    attack(port, []),
  ];
  // A head that trickles in gets no more time for each byte.
  const drip = setInterval(() => slow[0]?.socket.write("x"), 20);
  await until(() => slow.every(({ isEnded }) => isEnded), "the end of slow connections", 20_000);
  clearInterval(drip);
  const answers = slow.map(({ received }) => /^HTTP\/1\.1 (\d+)/.exec(received)?.[1]);
  expect(answers).toEqual(["408", "408", "408", "200", undefined]);
  await server.close();
});
