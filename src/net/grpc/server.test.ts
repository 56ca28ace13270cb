import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { OutgoingHttpHeaders } from "node:http2";
import { gzipSync } from "node:zlib";
import * as grpc from "@grpc/grpc-js";
import {
  callUnary,
  collect,
  dialEcho,
  openBidi,
  openClientStream,
  openServerStream,
} from "./fixture-grpc-js.ts";
import { anyDetail, echoMethods, seen } from "./fixture-methods.ts";
import { grpcHeaders, openRaw, rawCall, until } from "./fixture-raw.ts";
import { cancelStream } from "./fixture-reset.ts";
import { encodeFrame } from "./frame.ts";
import { decodeBinaryMetadata } from "./metadata.ts";
import { createGrpcServer, type GrpcServer } from "./server.ts";
import { decodeRpcStatus } from "./status-details.ts";
import { GrpcError } from "./types.ts";

let server: GrpcServer;
let port: number;
let client: grpc.Client;

beforeAll(async () => {
  server = createGrpcServer({ lookup: (path) => echoMethods[path] });
  port = await listenOn(server);
  client = dialEcho(`127.0.0.1:${port}`);
});
afterAll(async () => {
  client.close();
  await server.close();
});

async function listenOn(one: GrpcServer): Promise<number> {
  const bound = await one.listen({ host: "127.0.0.1", port: 0 });
  return "port" in bound ? bound.port : 0;
}

describe("unary calls", () => {
  test("echo messages of all sizes", async () => {
    for (const size of [0, 1, 5, 16_384, 300_000, 4 * 1024 * 1024]) {
      const { message, status } = await callUnary(client, "/test.Echo/Late", new Uint8Array(size).fill(7));
      expect([status?.code, message?.length]).toEqual([0, size]);
    }
  });

  test("keep metadata with duplicates and binary values", async () => {
    const metadata = new grpc.Metadata();
    metadata.add("x-echo", "one");
    metadata.add("x-echo", "two");
    metadata.add("x-echo-bin", Buffer.of(0, 255, 1));
    const { headers, status } = await callUnary(client, "/test.Echo/Meta", Buffer.of(1), { metadata });
    expect(headers?.get("x-header").join(", ")).toBe("one, two");
    expect(status?.metadata.get("x-trailer-bin")).toEqual([Buffer.of(0, 255, 1)]);
    expect(seen.context?.metadata.filter(([name]) => name.startsWith("x-"))).toEqual([
      ["x-echo", "one"],
      ["x-echo", "two"],
      ["x-echo-bin", "AP8B"],
    ]);
    expect(seen.context?.get("x-echo")).toBe("one");
    expect(seen.context?.peer).toStartWith("127.0.0.1:");
    expect(seen.context?.metadata.map(([name]) => name)).not.toContain("te");
  });

  test("end with status, message, details and trailers of a GrpcError", async () => {
    const { error, headers } = await callUnary(client, "/test.Echo/Fail", Buffer.of(1));
    expect([error?.code, error?.details]).toEqual([9, "nö: 100% broken\n"]);
    expect(error?.metadata.get("x-why")).toEqual(["because"]);
    const status = decodeRpcStatus(error?.metadata.get("grpc-status-details-bin")[0] as Buffer);
    expect(status).toEqual({ code: 9, message: "nö: 100% broken\n", details: [Buffer.from(anyDetail)] });
    expect(headers?.get("x-why") ?? []).toEqual([]);
  });

  test("send metadata that HTTP/2 would not carry in a form it does", async () => {
    const { error } = await callUnary(client, "/test.Echo/Odd", Buffer.of(1));
    expect([error?.code, error?.metadata.get("x-odd")]).toEqual([2, ["line feed"]]);
    expect(error?.details.length).toBe(16_384);
  });

  test("end with UNKNOWN when the handler throws something else", async () => {
    const { error } = await callUnary(client, "/test.Echo/Crash", Buffer.of(1));
    expect([error?.code, error?.details]).toEqual([2, "crashed"]);
  });

  test("of unknown methods are UNIMPLEMENTED", async () => {
    const { error } = await callUnary(client, "/test.Echo/Nope", Buffer.of(1));
    expect([error?.code, error?.details]).toEqual([12, "unknown method Nope for service test.Echo"]);
  });

  test("end at their deadline though the handler hangs, and abort its signal", async () => {
    seen.aborted = [];
    const { error } = await callUnary(client, "/test.Echo/Hang", Buffer.of(1), {
      call: { deadline: Date.now() + 50 },
    });
    expect(error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await until(() => seen.aborted.length === 1, "the handler's signal aborts");
    expect(seen.aborted[0]).toBeInstanceOf(GrpcError);
  });

  test("have their deadline enforced by the server alone", async () => {
    const session = openRaw(port);
    const answer = await rawCall(session, { ":path": "/test.Echo/Hang", "grpc-timeout": "20m" }, [
      encodeFrame(anyDetail),
    ]);
    expect([answer.headers["grpc-status"], answer.headers["grpc-message"]]).toEqual([
      "4",
      "context deadline exceeded",
    ]);
    session.destroy();
  });

  test("abort their signal when the client cancels", async () => {
    seen.aborted = [];
    const cancelAfter = new Promise((resolve) => setTimeout(resolve, 20));
    const { error } = await callUnary(client, "/test.Echo/Hang", Buffer.of(1), { cancelAfter });
    expect(error?.code).toBe(grpc.status.CANCELLED);
    await until(() => seen.aborted.length === 1, "the handler's signal aborts");
    expect((seen.aborted[0] as GrpcError).code).toBe(1);
  });

  test("refuse messages above the limit in grpc-go's words", async () => {
    const { error } = await callUnary(client, "/test.Echo/Unary", new Uint8Array(4 * 1024 * 1024 + 1));
    expect([error?.code, error?.details]).toEqual([
      8,
      "grpc: received message larger than max (4194305 vs. 4194304)",
    ]);
  });
});

describe("compression", () => {
  test("is answered in kind, above 1 KiB", async () => {
    const gzipped = dialEcho(`127.0.0.1:${port}`, { "grpc.default_compression_algorithm": 2 });
    for (const size of [10, 5000]) {
      const { message } = await callUnary(gzipped, "/test.Echo/Unary", new Uint8Array(size).fill(1));
      expect(message).toEqual(Buffer.alloc(size, 1));
    }
    gzipped.close();
  });

  test("shrinks what is sent", async () => {
    const session = openRaw(port);
    const request = encodeFrame(gzipSync(Buffer.alloc(100_000)), true);
    const answer = await rawCall(session, { "grpc-encoding": "gzip" }, [request]);
    expect(answer.trailers?.["grpc-status"]).toBe("0");
    expect(answer.body[0]).toBe(1);
    expect(answer.body.length).toBeLessThan(5000);
    session.destroy();
  });

  test("cannot grow a message past the limit", async () => {
    const session = openRaw(port);
    const bomb = encodeFrame(gzipSync(Buffer.alloc(50_000_000)), true);
    const answer = await rawCall(session, { "grpc-encoding": "gzip" }, [bomb]);
    expect(answer.headers["grpc-status"]).toBe("8");
    expect(answer.headers["grpc-message"]).toBe(
      "grpc: received message after decompression larger than max 4194304",
    );
    session.destroy();
  });

  test("of an unknown kind is UNIMPLEMENTED and names the known ones", async () => {
    const session = openRaw(port);
    const answer = await rawCall(session, { "grpc-encoding": "br" }, [encodeFrame(anyDetail)]);
    expect([answer.headers["grpc-status"], answer.headers["grpc-accept-encoding"]]).toEqual([
      "12",
      "identity,gzip",
    ]);
    session.destroy();
  });
});

describe("streaming calls", () => {
  test("of a client are summed up", async () => {
    const { call, answer } = openClientStream(client, "/test.Echo/Client");
    for (let i = 0; i < 50; i++) call.write(Buffer.alloc(10_000));
    call.end();
    expect(String(await answer)).toBe("500000");
  });

  test("of a server arrive in order", async () => {
    const { messages, status } = await collect(
      openServerStream(client, "/test.Echo/Server", Buffer.from("abcdef")),
    );
    expect([Buffer.concat(messages).toString(), status.code]).toEqual(["abcdef", 0]);
  });

  test("flow both ways at once", async () => {
    const call = openBidi(client, "/test.Echo/Bidi");
    const result = collect(call);
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(20_000, i));
    call.end();
    const { messages, status } = await result;
    expect(status.code).toBe(0);
    expect(messages.map((message) => message[0])).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test("of 100 at a time all end well", async () => {
    const calls = Array.from({ length: 100 }, () => {
      const call = openBidi(client, "/test.Echo/Bidi");
      const result = collect(call);
      for (let i = 0; i < 10; i++) call.write(Buffer.alloc(100, i));
      call.end();
      return result;
    });
    for (const { messages, status } of await Promise.all(calls))
      expect([messages.length, status.code]).toEqual([10, 0]);
  });

  test("that are cut off do not look whole to their handler", async () => {
    for (const cut of ["cancel", "loss"]) {
      seen.uploads = [];
      const session = openRaw(port);
      const stream = session.request({ ...grpcHeaders, ":path": "/test.Echo/Upload" });
      stream.on("error", () => {});
      stream.write(encodeFrame(anyDetail));
      await until(() => seen.uploads.length === 1, "the message arrives");
      if (cut === "cancel") cancelStream(stream);
      else session.socket.destroySoon();
      await until(() => seen.uploads.length === 2, "the handler sees the end");
      expect(seen.uploads[1]).toBeInstanceOf(GrpcError);
      session.destroy();
    }
  });

  test("end with an error after messages", async () => {
    const call = openBidi(client, "/test.Echo/Partly");
    const { messages, status } = await collect(call);
    expect([messages.length, status.code, status.details]).toEqual([1, 8, "enough"]);
  });

  test("end well when no message was sent", async () => {
    const { messages, status } = await collect(
      openServerStream(client, "/test.Echo/Server", Buffer.alloc(0)),
    );
    expect([messages.length, status.code]).toEqual([0, 0]);
  });

  test("stop sending to a reader that has stopped", async () => {
    const session = openRaw(port);
    const stream = session.request({ ...grpcHeaders, ":path": "/test.Echo/Flood" });
    stream.on("error", () => {});
    stream.end();
    let before = -1;
    await until(() => {
      const isSteady = seen.sent > 0 && seen.sent === before;
      before = seen.sent;
      return isSteady;
    }, "the sender is held");
    expect(seen.sent).toBeLessThan(1_000_000);
    session.destroy();
  });

  test("stop reading from a sender whose handler does not read", async () => {
    const call = openBidi(client, "/test.Echo/Stall");
    call.on("error", () => {});
    let written = 0;
    const message = Buffer.alloc(64 * 1024);
    while (call.write(message) && written < 100) written++;
    const { message: echoed } = await callUnary(client, "/test.Echo/Unary", Buffer.of(9));
    expect(echoed).toEqual(Buffer.of(9));
    expect(written).toBeLessThan(50);
    call.cancel();
  });

  test("tell the handler when the client is gone", async () => {
    const other = dialEcho(`127.0.0.1:${port}`);
    const call = openServerStream(other, "/test.Echo/Flood", Buffer.of(1));
    call.on("error", () => {});
    const gone = new Promise<void>((resolve) => call.once("data", () => resolve()));
    await gone;
    call.cancel();
    let before = -1;
    await until(() => {
      const isSteady = seen.sent === before;
      before = seen.sent;
      return isSteady;
    }, "the sender stops");
    other.close();
  });
});

describe("what is no proper call", () => {
  const cases: [
    what: string,
    headers: OutgoingHttpHeaders,
    body: Uint8Array[],
    code: string,
    text: string,
  ][] = [
    ["no message", {}, [], "13", "grpc: no message in the request of a unary call"],
    [
      "two messages",
      {},
      [encodeFrame(anyDetail), encodeFrame(anyDetail)],
      "13",
      "grpc: more than one message in the request of a unary call",
    ],
    ["a cut prefix", {}, [Buffer.of(0, 0, 0)], "13", "grpc: a message was cut short: unexpected EOF"],
    [
      "a cut message",
      {},
      [encodeFrame(anyDetail).subarray(0, 7)],
      "13",
      "grpc: a message was cut short: unexpected EOF",
    ],
    ["an unknown flag", {}, [Buffer.of(9, 0, 0, 0, 0)], "13", "grpc: received unexpected payload format 9"],
    [
      "a compressed flag without encoding",
      {},
      [Buffer.of(1, 0, 0, 0, 1, 0)],
      "13",
      "grpc: compressed flag set with identity or empty encoding",
    ],
    [
      "a 4 GiB prefix",
      {},
      [Buffer.of(0, 255, 255, 255, 255)],
      "8",
      "grpc: received message larger than max (4294967295 vs. 4194304)",
    ],
    [
      "a malformed timeout",
      { "grpc-timeout": "soon" },
      [encodeFrame(anyDetail)],
      "13",
      "malformed grpc-timeout: soon",
    ],
    [
      "a passed deadline",
      { "grpc-timeout": "0m" },
      [encodeFrame(anyDetail)],
      "4",
      "context deadline exceeded",
    ],
    [
      "a path without method",
      { ":path": "/x" },
      [encodeFrame(anyDetail)],
      "12",
      'malformed method name: "/x"',
    ],
  ];
  for (const [what, headers, body, code, text] of cases) {
    test(`is refused: ${what}`, async () => {
      const session = openRaw(port);
      const answer = await rawCall(session, headers, body);
      expect([
        answer.headers[":status"],
        answer.headers["grpc-status"],
        answer.headers["grpc-message"],
      ]).toEqual([200, code, text]);
      session.destroy();
    });
  }

  test("gets the answer before it has sent everything", async () => {
    const session = openRaw(port);
    const answer = await rawCall(session, {}, [Buffer.of(9, 0, 0, 0, 0)], { keepsOpen: true });
    expect(answer.headers["grpc-status"]).toBe("13");
    session.destroy();
  });

  test("gets 415 for another content type, 405 for another method", async () => {
    const session = openRaw(port);
    expect((await rawCall(session, { "content-type": "application/grpcx" }, [])).headers[":status"]).toBe(
      415,
    );
    expect((await rawCall(session, { ":method": "PUT" }, [])).headers[":status"]).toBe(405);
    session.destroy();
  });

  test("is served when cut into single bytes", async () => {
    const session = openRaw(port);
    const pieces = [...encodeFrame(anyDetail)].map((byte) => Uint8Array.of(byte));
    const answer = await rawCall(session, {}, pieces);
    expect([answer.body, answer.trailers?.["grpc-status"]]).toEqual([encodeFrame(anyDetail), "0"]);
    session.destroy();
  });
});

test("decodeBinaryMetadata() reads unpadded base64", () => {
  expect([...decodeBinaryMetadata("AP8B")]).toEqual([0, 255, 1]);
});
