import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { createGrpcClient } from "./client.ts";
import {
  callUnary,
  collect,
  dialEcho,
  type EchoServer,
  openBidi,
  openClientStream,
  openServerStream,
  startEchoServer,
} from "./fixture-grpc-js.ts";
import { echoMethods, seen } from "./fixture-methods.ts";
import { grpcHeaders, openRaw, rawCall, until } from "./fixture-raw.ts";
import { cancelStream } from "./fixture-reset.ts";
import { encodeFrame } from "./frame.ts";
import { createGrpcServer, type GrpcServer } from "./server.ts";
import { type GrpcClient, GrpcError, type GrpcProxyTarget } from "./types.ts";

const one = Buffer.of(1);
let echo: EchoServer;
let upstream: GrpcClient;
let server: GrpcServer;
let port: number;
let client: grpc.Client;
let codes: number[] = [];

beforeAll(async () => {
  echo = await startEchoServer({ "grpc.max_receive_message_length": -1 });
  upstream = createGrpcClient({ host: "127.0.0.1", port: echo.port });
  const proxied = await startProxy(() => upstream);
  ({ server, port } = proxied);
  client = dialEcho(`127.0.0.1:${port}`, { "grpc.max_receive_message_length": -1 });
});
beforeEach(() => {
  codes = [];
});
afterAll(async () => {
  client.close();
  await server.close();
  upstream.close();
  echo.stop();
});

async function startProxy(
  choose: () => GrpcClient | Promise<GrpcClient>,
): Promise<{ server: GrpcServer; port: number }> {
  const target: GrpcProxyTarget = {
    kind: "proxy",
    async connect(context) {
      if (context.get("x-refuse") !== undefined) throw new GrpcError(7, "not for you");
      const metadata = [...context.metadata, ["x-by", "proxy"] as [string, string]];
      return { client: await choose(), metadata, done: (code) => codes.push(code) };
    },
  };
  const proxy = createGrpcServer({ lookup: () => target });
  const bound = await proxy.listen({ host: "127.0.0.1", port: 0 });
  return { server: proxy, port: "port" in bound ? bound.port : 0 };
}

async function codeSeen(): Promise<number | undefined> {
  await until(() => codes.length > 0, "the proxy reports the end");
  return codes[0];
}

describe("the proxy", () => {
  test("passes unary calls with metadata both ways", async () => {
    const metadata = new grpc.Metadata();
    metadata.add("x-echo", "value");
    metadata.add("x-echo-bin", Buffer.of(0, 255));
    const { message, headers, status } = await callUnary(
      client,
      "/test.Echo/Unary",
      Buffer.alloc(100_000, 5),
      {
        metadata,
      },
    );
    expect(message).toEqual(Buffer.alloc(100_000, 5));
    expect(headers?.get("x-header")).toEqual(["value"]);
    expect(status?.metadata.get("x-trailer-bin")).toEqual([Buffer.of(0, 255)]);
    expect(echo.seen.metadata?.get("x-by")).toEqual(["proxy"]);
    expect(await codeSeen()).toBe(0);
  });

  test("passes messages above its own limit, for it does not read them", async () => {
    const size = 9_000_000;
    const { message } = await callUnary(client, "/test.Echo/Unary", Buffer.alloc(size, 5));
    expect(message?.length).toBe(size);
  });

  test("passes client streams", async () => {
    const { call, answer } = openClientStream(client, "/test.Echo/Client");
    for (let i = 0; i < 50; i++) call.write(Buffer.alloc(10_000));
    call.end();
    expect(String(await answer)).toBe("500000");
  });

  test("passes server streams", async () => {
    const { messages, status } = await collect(
      openServerStream(client, "/test.Echo/Server", Buffer.from("abc")),
    );
    expect([Buffer.concat(messages).toString(), status.code]).toEqual(["abc", 0]);
  });

  test("passes both directions at once, one message at a time too", async () => {
    const call = openBidi(client, "/test.Echo/Bidi");
    for (let i = 0; i < 10; i++) {
      const reply = new Promise<Buffer>((resolve) => call.once("data", resolve));
      call.write(Buffer.of(i));
      expect(await reply).toEqual(Buffer.of(i));
    }
    const result = collect(call);
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(20_000, i));
    call.end();
    const { messages, status } = await result;
    expect([messages.length, status.code]).toEqual([100, 0]);
  });

  test("passes compressed messages as they are", async () => {
    const gzipped = dialEcho(`127.0.0.1:${port}`, { "grpc.default_compression_algorithm": 2 });
    const { message } = await callUnary(gzipped, "/test.Echo/Unary", Buffer.alloc(5000, 1));
    expect(message).toEqual(Buffer.alloc(5000, 1));
    gzipped.close();
  });

  test("passes failures with details, and trailers-only answers", async () => {
    const { error } = await callUnary(client, "/test.Echo/Fail", one);
    expect([error?.code, error?.details]).toEqual([5, "nö: 100% gone"]);
    expect(error?.metadata.get("x-why")).toEqual(["because"]);
    expect(error?.metadata.get("grpc-status-details-bin").length).toBe(1);
    const unknown = await callUnary(client, "/test.Echo/Nope", one);
    expect(unknown.error?.code).toBe(12);
    expect(codes).toEqual([5, 12]);
  });

  test("passes deadlines on and ends calls at them", async () => {
    echo.seen.deadline = undefined;
    // On a busy machine a short deadline may pass before the server is told of it.
    for (let waitMs = 60; echo.seen.deadline === undefined && waitMs < 10_000; waitMs *= 2) {
      const call = { deadline: Date.now() + waitMs };
      const { error } = await callUnary(client, "/test.Echo/Hang", one, { call });
      expect(error?.code).toBe(4);
    }
    expect(Number(echo.seen.deadline)).toBeLessThan(Date.now() + 10_000);
    // The client resets at its deadline too; either may be seen first.
    expect([1, 4]).toContain(Number(await codeSeen()));
  });

  test("passes cancels on", async () => {
    const before = echo.seen.cancelled;
    const call = openBidi(client, "/test.Echo/Stall");
    call.on("error", () => {});
    call.write(one);
    await until(() => echo.seen.metadata !== undefined, "the call arrives");
    setTimeout(() => call.cancel(), 20);
    await until(() => echo.seen.cancelled > before, "the server sees the cancel");
    expect(await codeSeen()).toBe(1);
  });

  test("does not make a cut upload look whole", async () => {
    const behind = createGrpcServer({ lookup: (path) => echoMethods[path] });
    const own = createGrpcClient(await behind.listen({ host: "127.0.0.1", port: 0 }));
    const proxied = await startProxy(() => own);
    for (const cut of ["cancel", "loss"]) {
      seen.uploads = [];
      const session = openRaw(proxied.port);
      const stream = session.request({ ...grpcHeaders, ":path": "/test.Echo/Upload" });
      stream.on("error", () => {});
      stream.write(encodeFrame(one));
      await until(() => seen.uploads.length === 1, "the message arrives");
      if (cut === "cancel") cancelStream(stream);
      else session.socket.destroySoon();
      await until(() => seen.uploads.length === 2, "the handler sees the end");
      expect(seen.uploads[1]).toBeInstanceOf(GrpcError);
      session.destroy();
    }
    own.close();
    await proxied.server.close();
    await behind.close();
  });

  test("answers what connect() throws", async () => {
    const metadata = new grpc.Metadata();
    metadata.add("x-refuse", "yes");
    const { error } = await callUnary(client, "/test.Echo/Unary", one, { metadata });
    expect([error?.code, error?.details]).toEqual([7, "not for you"]);
  });

  test("holds what comes while it connects", async () => {
    const gate = Promise.withResolvers<void>();
    const slow = await startProxy(() => gate.promise.then(() => upstream));
    const dialled = dialEcho(`127.0.0.1:${slow.port}`);
    const { call, answer } = openClientStream(dialled, "/test.Echo/Client");
    for (let i = 0; i < 20; i++) call.write(Buffer.alloc(50_000));
    call.end();
    const empty = openClientStream(dialled, "/test.Echo/Client");
    empty.call.end();
    setTimeout(gate.resolve, 30);
    expect(String(await answer)).toBe("1000000");
    expect(String(await empty.answer)).toBe("0");
    dialled.close();
    await slow.server.close();
  });

  test("holds each side to the other's pace", async () => {
    const session = openRaw(port);
    const stream = session.request({ ...grpcHeaders, ":path": "/test.Echo/Flood" });
    stream.on("error", () => {});
    stream.end(encodeFrame(one));
    const before = process.memoryUsage.rss();
    await new Promise<void>((resolve) => stream.on("response", () => resolve()));
    const { message } = await callUnary(client, "/test.Echo/Unary", one);
    expect(message).toEqual(one);
    expect(process.memoryUsage.rss() - before).toBeLessThan(60_000_000);
    session.destroy();
  });
});

describe("an upstream", () => {
  test("that cannot be reached is UNAVAILABLE", async () => {
    const dead = createGrpcClient({ host: "127.0.0.1", port: 1 });
    const proxied = await startProxy(() => dead);
    const dialled = dialEcho(`127.0.0.1:${proxied.port}`);
    expect((await callUnary(dialled, "/test.Echo/Unary", one)).error?.code).toBe(14);
    await until(() => codes.includes(14), "the proxy reports the end");
    dialled.close();
    await proxied.server.close();
  });

  test("lost in mid-call is UNAVAILABLE, before and after its headers", async () => {
    const dying = await startEchoServer();
    const own = createGrpcClient({ host: "127.0.0.1", port: dying.port });
    const proxied = await startProxy(() => own);
    const dialled = dialEcho(`127.0.0.1:${proxied.port}`);
    const hanging = callUnary(dialled, "/test.Echo/Hang", one);
    const bidi = openBidi(dialled, "/test.Echo/Bidi");
    const echoed = new Promise((resolve) => bidi.once("data", resolve));
    bidi.write(one);
    await echoed;
    const result = collect(bidi);
    dying.stop();
    expect([(await hanging).error?.code, (await result).status.code]).toEqual([14, 14]);
    dialled.close();
    own.close();
    await proxied.server.close();
  });

  test("that answers in plain HTTP or resets is told apart", async () => {
    const plain = http2.createServer();
    plain.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
      stream.on("error", () => {});
      if (headers[":path"] === "/a.B/Reset")
        Object.assign(stream, { rstCode: 11 }).destroy(new Error("calm"));
      else {
        stream.respond({ ":status": 503, "content-type": "text/plain" });
        stream.end("busy");
      }
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const own = createGrpcClient({ host: "127.0.0.1", port: (plain.address() as AddressInfo).port });
    const proxied = await startProxy(() => own);
    const session = openRaw(proxied.port);
    const busy = await rawCall(session, { ":path": "/a.B/Busy" }, [encodeFrame(one)]);
    const reset = await rawCall(session, { ":path": "/a.B/Reset" }, [encodeFrame(one)]);
    expect([busy.headers["grpc-status"], reset.headers["grpc-status"]]).toEqual(["14", "8"]);
    session.destroy();
    own.close();
    await proxied.server.close();
    plain.close();
  });

  test("that refuses the stream unseen is asked again", async () => {
    let refused = 0;
    const shy = http2.createServer();
    shy.on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.on("error", () => {});
      if (refused++ < 2) {
        Object.assign(stream, { rstCode: 7 }).destroy(new Error("refused"));
        return;
      }
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.pipe(stream);
    });
    await new Promise<void>((resolve) => shy.listen(0, "127.0.0.1", resolve));
    const own = createGrpcClient({ host: "127.0.0.1", port: (shy.address() as AddressInfo).port });
    const proxied = await startProxy(() => own);
    const dialled = dialEcho(`127.0.0.1:${proxied.port}`);
    const { message } = await callUnary(dialled, "/a.B/C", Buffer.alloc(10_000, 3));
    expect([message, refused]).toEqual([Buffer.alloc(10_000, 3), 3]);
    dialled.close();
    own.close();
    await proxied.server.close();
    shy.close();
  });

  test("that shuts down gracefully loses no call", async () => {
    const first = createGrpcServer({ lookup: () => ({ kind: "unary", handle: async (request) => request }) });
    const bound = await first.listen({ host: "127.0.0.1", port: 0 });
    if (!("port" in bound)) throw new Error("no port");
    const own = createGrpcClient(bound);
    const proxied = await startProxy(() => own);
    const dialled = dialEcho(`127.0.0.1:${proxied.port}`);
    const failed: string[] = [];
    let done = 0;
    let isOver = false;
    const callers = Array.from({ length: 10 }, async () => {
      while (!isOver) {
        const { error } = await callUnary(dialled, "/a.B/C", one);
        if (error) failed.push(`${error.code} ${error.details}`);
        else done++;
      }
    });
    await until(() => done > 50, "calls run");
    const second = createGrpcServer({ lookup: () => ({ kind: "unary", handle: (request) => request }) });
    const closed = first.close({ graceMs: 2000 });
    await second.listen(bound);
    await closed;
    const at = done;
    await until(() => done > at + 50, "calls run on the second server");
    isOver = true;
    await Promise.all(callers);
    expect(failed).toEqual([]);
    dialled.close();
    own.close();
    await proxied.server.close();
    await second.close();
  });
});
