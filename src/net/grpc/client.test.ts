import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { gzipSync } from "node:zlib";
import { createGrpcClient, type GrpcClientOptions } from "./client.ts";
import { type EchoServer, startEchoServer } from "./fixture-grpc-js.ts";
import { until } from "./fixture-raw.ts";
import { testCertificate, testKey } from "./fixture-tls.ts";
import { encodeFrame } from "./frame.ts";
import { createGrpcServer } from "./server.ts";
import { type GrpcClient, type GrpcDuplex, GrpcError, type Metadata } from "./types.ts";

const one = Uint8Array.of(1);
let echo: EchoServer;
let client: GrpcClient;

beforeAll(async () => {
  echo = await startEchoServer();
  client = createGrpcClient({ host: "127.0.0.1", port: echo.port });
});
afterAll(() => {
  client.close();
  echo.stop();
});

async function errorOf(promise: Promise<unknown>): Promise<GrpcError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof GrpcError)) throw new Error(`expected a GrpcError, not ${error}`);
  return error;
}

async function readAll(duplex: GrpcDuplex): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = [];
  for await (const message of duplex.responses) messages.push(message);
  return messages;
}

/** A server of hand-written answers. */
async function startHttp2(
  onStream: (stream: http2.ServerHttp2Stream, session: http2.ServerHttp2Session) => void,
  settings: http2.Settings = {},
): Promise<{ port: number; sessions: http2.ServerHttp2Session[]; close(): void }> {
  const server = http2.createServer({ settings });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on("session", (session) => {
    sessions.push(session);
    session.on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.on("error", () => {});
      onStream(stream, session);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    for (const session of sessions) session.destroy();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, sessions, close };
}

function dial(port: number, options: GrpcClientOptions = {}): GrpcClient {
  return createGrpcClient({ host: "127.0.0.1", port }, options);
}

describe("unary()", () => {
  test("brings back messages of all sizes", async () => {
    for (const size of [0, 1, 16_384, 300_000, 4 * 1024 * 1024 - 5]) {
      const message = await client.unary("/test.Echo/Unary", new Uint8Array(size).fill(3));
      expect(message.length).toBe(size);
    }
  });

  test("carries metadata both ways", async () => {
    let headers: Metadata = [];
    const metadata: Metadata = [
      ["x-echo", "one"],
      ["x-echo", "two"],
      ["x-echo-bin", "AP8B"],
    ];
    await client.unary("/test.Echo/Unary", one, { metadata, onHeaders: (received) => (headers = received) });
    expect(echo.seen.metadata?.get("x-echo").join(", ")).toBe("one, two");
    expect(echo.seen.metadata?.get("x-echo-bin")).toEqual([Buffer.of(0, 255, 1)]);
    expect(
      headers
        .filter(([name]) => name === "x-header")
        .map(([, value]) => value)
        .join(", "),
    ).toBe("one, two");
  });

  test("throws status, message, details and metadata of a failure", async () => {
    const error = await errorOf(client.unary("/test.Echo/Fail", one));
    expect([error.code, error.message]).toEqual([5, "nö: 100% gone"]);
    expect(error.details).toEqual([Buffer.from("0a03612f62", "hex")]);
    expect(error.metadata).toContainEqual(["x-why", "because"]);
  });

  test("sends its deadline and keeps it", async () => {
    const started = Date.now();
    const error = await errorOf(client.unary("/test.Echo/Hang", one, { timeoutMs: 40 }));
    expect(error.code).toBe(4);
    expect(Number(echo.seen.deadline) - started).toBeLessThan(1000);
  });

  test("is cancelled by its signal, on the server too", async () => {
    const before = echo.seen.cancelled;
    const controller = new AbortController();
    const call = client.unary("/test.Echo/Hang", one, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    expect((await errorOf(call)).code).toBe(1);
    await until(() => echo.seen.cancelled > before, "the server sees the cancel");
    expect((await errorOf(client.unary("/test.Echo/Hang", one, { signal: AbortSignal.abort() }))).code).toBe(
      1,
    );
  });

  test("refuses an answer above its limit", async () => {
    const small = dial(echo.port, { maxMessageBytes: 100 });
    const error = await errorOf(small.unary("/test.Echo/Unary", new Uint8Array(101)));
    expect([error.code, error.message]).toEqual([8, "grpc: received message larger than max (101 vs. 100)"]);
    small.close();
  });

  test("goes over TLS to a server it trusts, and to no other", async () => {
    const server = createGrpcServer({ lookup: () => ({ kind: "unary", handle: (request) => request }) });
    const front = tls.createServer({ key: testKey, cert: testCertificate, ALPNProtocols: ["h2"] }, (socket) =>
      server.handleSocket(socket),
    );
    front.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
    const port = (front.address() as AddressInfo).port;
    const trusting = dial(port, { tls: { ca: testCertificate, serverName: "grpc.test" } });
    expect(await trusting.unary("/a.B/C", one)).toEqual(Buffer.from(one));
    const careless = dial(port, { tls: { rejectUnauthorized: false } });
    expect(await careless.unary("/a.B/C", one)).toEqual(Buffer.from(one));
    for (const options of [{ serverName: "grpc.test" }, { ca: testCertificate, serverName: "other.test" }]) {
      const wary = dial(port, { tls: options });
      expect((await errorOf(wary.unary("/a.B/C", one))).code).toBe(14);
      wary.close();
    }
    trusting.close();
    careless.close();
    await server.close();
    front.close();
  });

  test("goes over a Unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "grpc-"));
    const socketPath = join(folder, "echo.socket");
    const local = await startEchoServer({}, `unix:${socketPath}`);
    const dialled = createGrpcClient({ socketPath });
    expect(await dialled.unary("/test.Echo/Unary", one)).toEqual(Buffer.from(one));
    dialled.close();
    local.stop();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe("stream()", () => {
  test("sums up what it sends", async () => {
    const call = client.stream("/test.Echo/Client");
    for (let i = 0; i < 50; i++) await call.send(new Uint8Array(10_000));
    call.end();
    expect((await readAll(call)).map(String)).toEqual(["500000"]);
  });

  test("receives in order", async () => {
    const call = client.stream("/test.Echo/Server");
    await call.send(Buffer.from("abc"));
    call.end();
    expect(Buffer.concat(await readAll(call)).toString()).toBe("abc");
  });

  test("flows both ways at once", async () => {
    const call = client.stream("/test.Echo/Bidi");
    const received = readAll(call);
    for (let i = 0; i < 100; i++) await call.send(new Uint8Array(20_000).fill(i));
    call.end();
    expect((await received).map((message) => message[0])).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test("throws after the messages that came before the failure", async () => {
    const server = await startHttp2((stream) => {
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "9", "grpc-message": "so far" }));
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.end(Buffer.concat([encodeFrame(one), encodeFrame(one)]));
    });
    const dialled = dial(server.port);
    const call = dialled.stream("/a.B/C");
    const messages: Uint8Array[] = [];
    const reading = (async () => {
      for await (const message of call.responses) messages.push(message);
    })();
    expect((await errorOf(reading)).message).toBe("so far");
    expect(messages.length).toBe(2);
    dialled.close();
    server.close();
  });

  test("does not end the upload when cancelled", async () => {
    let ended = false;
    let reset = -1;
    const server = await startHttp2((stream) => {
      stream.on("data", () => {});
      stream.on("end", () => (ended = stream.rstCode === 0 && !stream.destroyed));
      stream.on("close", () => (reset = stream.rstCode ?? -1));
    });
    const dialled = dial(server.port);
    const call = dialled.stream("/a.B/C");
    await call.send(one);
    call.cancel();
    expect((await errorOf(readAll(call))).code).toBe(1);
    await until(() => reset >= 0, "the server sees the reset");
    expect([reset, ended]).toEqual([8, false]);
    dialled.close();
    server.close();
  });

  test("holds the sender when the server does not read", async () => {
    const call = client.stream("/test.Echo/Stall");
    let sent = 0;
    let isHeld = false;
    const sending = (async () => {
      for (; sent < 1000; sent++) await call.send(new Uint8Array(64 * 1024));
    })().catch(() => (isHeld = true));
    let before = -1;
    await until(() => {
      const isSteady = sent > 0 && sent === before;
      before = sent;
      return isSteady;
    }, "the sender is held");
    expect(sent).toBeLessThan(100);
    expect((await client.unary("/test.Echo/Unary", one)).length).toBe(1);
    call.cancel();
    await sending;
    expect(isHeld).toBe(true);
  });

  test("holds the server when nobody reads, and ends it when the reader leaves", async () => {
    const before = echo.seen.cancelled;
    const call = client.stream("/test.Echo/Flood");
    await call.send(one);
    call.end();
    for await (const message of call.responses) {
      expect(message.length).toBe(64 * 1024);
      break;
    }
    await until(() => echo.seen.cancelled > before, "the server sees the cancel");
  });
});

describe("an answer", () => {
  const cases: [
    what: string,
    headers: http2.OutgoingHttpHeaders,
    body: Uint8Array,
    code: number,
    text: RegExp,
  ][] = [
    [
      "without grpc-status",
      { "content-type": "application/grpc" },
      encodeFrame(one),
      13,
      /without sending trailers/,
    ],
    ["with HTTP status 404", { ":status": 404, "content-type": "text/plain" }, one, 12, /404/],
    ["with HTTP status 503", { ":status": 503 }, one, 14, /503/],
    ["with HTTP status 401", { ":status": 401 }, one, 16, /401/],
    ["of another content type", { "content-type": "text/html" }, one, 2, /text\/html/],
    [
      "with an unknown flag",
      { "content-type": "application/grpc" },
      Buffer.of(7, 0, 0, 0, 0),
      13,
      /payload format 7/,
    ],
  ];
  for (const [what, headers, body, code, text] of cases) {
    test(`${what} is an error`, async () => {
      const server = await startHttp2((stream) => {
        stream.respond(headers);
        stream.end(body);
      });
      const dialled = dial(server.port);
      const error = await errorOf(dialled.unary("/a.B/C", one));
      expect(error.code).toBe(code);
      expect(error.message).toMatch(text);
      dialled.close();
      server.close();
    });
  }

  test("may be gzip", async () => {
    const server = await startHttp2((stream) => {
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.respond(
        { "content-type": "application/grpc", "grpc-encoding": "gzip" },
        { waitForTrailers: true },
      );
      stream.end(encodeFrame(gzipSync(Buffer.alloc(5000, 1)), true));
    });
    const dialled = dial(server.port);
    expect(await dialled.unary("/a.B/C", one)).toEqual(Buffer.alloc(5000, 1));
    const call = dialled.stream("/a.B/C");
    call.end();
    expect(await readAll(call)).toEqual([Buffer.alloc(5000, 1)]);
    dialled.close();
    server.close();
  });

  test("of REFUSED_STREAM is tried again, unseen by the caller", async () => {
    let refused = 0;
    const server = await startHttp2((stream) => {
      if (refused++ < 2) {
        Object.assign(stream, { rstCode: 7 }).destroy(new Error("refused"));
        return;
      }
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.end(encodeFrame(one));
    });
    const dialled = dial(server.port);
    expect(await dialled.unary("/a.B/C", one)).toEqual(Buffer.from(one));
    expect(refused).toBe(3);
    dialled.close();
    server.close();
  });
});

describe("a connection", () => {
  test("that cannot be had makes calls UNAVAILABLE", async () => {
    const dialled = dial(1);
    const error = await errorOf(dialled.unary("/a.B/C", one));
    expect([error.code, error.message]).toEqual([14, expect.stringContaining("127.0.0.1:1")]);
    expect((await errorOf(readAll(dialled.stream("/a.B/C")))).code).toBe(14);
    dialled.close();
  });

  test("to a silent peer is given up in time", async () => {
    const silent = net.createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const dialled = dial((silent.address() as AddressInfo).port, { connectTimeoutMs: 50 });
    const error = await errorOf(dialled.unary("/a.B/C", one));
    expect([error.code, error.message]).toEqual([14, expect.stringContaining("within 50 ms")]);
    dialled.close();
    silent.close();
  });

  test("under way is given up when its owner closes", async () => {
    const silent = net.createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const dialled = dial((silent.address() as AddressInfo).port);
    const waiting = errorOf(dialled.unary("/a.B/C", one));
    dialled.close();
    const error = await waiting;
    expect([error.code, error.message]).toEqual([14, expect.stringContaining("the client was closed")]);
    silent.close();
  });

  test("lost in mid-call makes it UNAVAILABLE; the next call gets a new one", async () => {
    const dying = await startEchoServer();
    const dialled = dial(dying.port);
    const hanging = errorOf(dialled.unary("/test.Echo/Hang", one));
    const stalled = errorOf(readAll(dialled.stream("/test.Echo/Stall")));
    await dialled.unary("/test.Echo/Unary", one);
    dying.stop();
    expect([(await hanging).code, (await stalled).code]).toEqual([14, 14]);
    const reborn = await startEchoServer({}, `127.0.0.1:${dying.port}`);
    expect((await dialled.unary("/test.Echo/Unary", one)).length).toBe(1);
    dialled.close();
    reborn.stop();
  });

  test("that does not answer pings is cut", async () => {
    const sockets: net.Socket[] = [];
    const behind = await startEchoServer();
    const relay = net.createServer((socket) => {
      const upstream = net.connect(behind.port, "127.0.0.1");
      sockets.push(socket, upstream);
      socket.pipe(upstream).pipe(socket);
      for (const each of [socket, upstream]) each.on("error", () => {});
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const dialled = dial((relay.address() as AddressInfo).port, { keepaliveMs: 20, keepaliveTimeoutMs: 50 });
    await dialled.unary("/test.Echo/Unary", one);
    const hanging = errorOf(dialled.unary("/test.Echo/Hang", one));
    for (const socket of sockets) {
      socket.unpipe();
      socket.pause();
    }
    const error = await hanging;
    expect([error.code, error.message]).toEqual([14, expect.stringContaining("keepalive")]);
    dialled.close();
    for (const socket of sockets) socket.destroy();
    relay.close();
    behind.stop();
  });

  test("with a stream limit queues the calls beyond it", async () => {
    let open = 0;
    let most = 0;
    const server = await startHttp2(
      (stream) => {
        most = Math.max(most, ++open);
        stream.on("close", () => open--);
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        setTimeout(() => {
          stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
          stream.end(encodeFrame(one));
        }, 2);
      },
      { maxConcurrentStreams: 3 },
    );
    const dialled = dial(server.port, { maxWaitingCalls: 20 });
    await dialled.unary("/a.B/C", one);
    const calls = Array.from({ length: 20 }, () => dialled.unary("/a.B/C", one));
    expect((await Promise.all(calls)).length).toBe(20);
    expect(most).toBe(3);
    const crowd = Array.from({ length: 40 }, () => dialled.unary("/a.B/C", one).catch((error) => error.code));
    const refused = (await Promise.all(crowd)).filter((outcome) => outcome === 8).length;
    // Three run and twenty wait; a stream of the calls above may not be closed yet.
    expect(refused).toBeGreaterThanOrEqual(17);
    expect(refused).toBeLessThanOrEqual(20);
    dialled.close();
    server.close();
  });

  test("that says GOAWAY loses no call", async () => {
    // Goodbye at the 30th stream: the up to 19 others in flight are refused, and are among the first 20 of the next
    // session. By chance instead, a call would sometimes be refused as often as the client puts up with.
    const streams = new Map<http2.ServerHttp2Session, number>();
    const server = await startHttp2((stream, session) => {
      const number = (streams.get(session) ?? 0) + 1;
      streams.set(session, number);
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.resume();
      setTimeout(() => {
        if (stream.destroyed) return;
        stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.end(encodeFrame(one));
      }, 1);
      if (number === 30) session.close();
    });
    const dialled = dial(server.port);
    const failures: string[] = [];
    const callers = Array.from({ length: 20 }, async () => {
      for (let i = 0; i < 50; i++) {
        await dialled.unary("/a.B/C", one).catch((error) => failures.push(`${error.code} ${error.message}`));
      }
    });
    await Promise.all(callers);
    expect(failures).toEqual([]);
    expect(server.sessions.length).toBeGreaterThan(1);
    dialled.close();
    server.close();
  });

  test("closed by its owner ends all calls", async () => {
    const dialled = dial(echo.port);
    await dialled.unary("/test.Echo/Unary", one);
    const hanging = errorOf(dialled.unary("/test.Echo/Hang", one));
    dialled.close();
    expect((await hanging).code).toBe(14);
    expect((await errorOf(dialled.unary("/test.Echo/Unary", one))).code).toBe(14);
  });
});
