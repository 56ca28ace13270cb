import { afterEach, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { until } from "../../testing/until.ts";
import { createGrpcClient } from "../grpc/client.ts";
import type { GrpcError } from "../grpc/types.ts";
import { errorCode, flag, frame, frameType, goawayFrame, numberFrame, settingsFrame } from "./frames.ts";
import { HeaderEncoder } from "./header-encoder.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

type Answer = (socket: Socket, requests: number) => void;

/** A server that greets and then says whatever it is told to, once for each time it is sent something after that. */
async function rawServer(answer: Answer, greeting: Uint8Array = settingsFrame([])) {
  let requests = 0;
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write(greeting);
    socket.on("data", (chunk: Buffer) => {
      if (chunk.includes("POST") || hasHeaders(chunk)) answer(socket, ++requests);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as { port: number };
  const client = createGrpcClient({ host: "127.0.0.1", port: address.port }, { connectTimeoutMs: 2000 });
  closers.push(() => client.close());
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const failure = (): Promise<GrpcError> =>
    client.unary("/a.B/C", new Uint8Array(1)).then(
      () => {
        throw new Error("the call succeeded");
      },
      (error) => error as GrpcError,
    );
  return { client, failure, sockets, requests: () => requests };
}

function hasHeaders(chunk: Buffer): boolean {
  for (let at = chunk.indexOf("PRI") === 0 ? 24 : 0; at + 9 <= chunk.length; ) {
    if (chunk[at + 3] === frameType.headers) return true;
    at += 9 + chunk.readUIntBE(at, 3);
  }
  return false;
}

function head(id: number, headers: Record<string, string>, isEnd = false): Uint8Array {
  const flags = flag.endHeaders | (isEnd ? flag.endStream : 0);
  return frame(frameType.headers, flags, id, new HeaderEncoder().encode(headers));
}

const grpcHead = { ":status": "200", "content-type": "application/grpc" };

test("a server that speaks HTTP/1 is told apart", async () => {
  const { failure } = await rawServer(() => {}, Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const error = await failure();
  expect(error.code).toBe(14);
  expect(error.message).toContain("HTTP/2");
});

const wrongs: [what: string, send: (id: number) => Uint8Array, code: number][] = [
  ["DATA before the head", (id) => frame(frameType.data, 0, id, Buffer.from("x")), 13],
  ["a head without a status", (id) => head(id, { "content-type": "application/grpc" }), 13],
  ["a connection header", (id) => head(id, { ...grpcHead, connection: "close" }), 13],
  ["a status of letters", (id) => head(id, { ":status": "two" }), 13],
  ["a pushed stream", () => frame(frameType.pushPromise, flag.endHeaders, 1, Buffer.alloc(4)), 14],
  ["a frame for a stream that was never opened", () => numberFrame(frameType.rstStream, 99, 8), 14],
  ["a window that grows by nothing", () => numberFrame(frameType.windowUpdate, 0, 0), 14],
  ["SETTINGS of seven bytes", () => frame(frameType.settings, 0, 0, Buffer.alloc(7)), 14],
  ["a header block that is no HPACK", (id) => frame(frameType.headers, 4, id, Buffer.from([0xff, 0xff])), 14],
];

for (const [what, send, code] of wrongs) {
  test(`a call ends with a status when the server sends ${what}`, async () => {
    const { failure } = await rawServer((socket, nth) => socket.write(send(nth * 2 - 1)));
    expect((await failure()).code).toBe(code);
  });
}

test("a head that is too large ends its call with a status", async () => {
  const large = { ...grpcHead, "x-large": "x".repeat(16_000) };
  const lines = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`x-${i}`, "x".repeat(16_000)]));
  const blocks = new HeaderEncoder();
  const { failure } = await rawServer((socket, nth) => {
    const id = nth * 2 - 1;
    if (nth > 1) {
      socket.write(
        frame(
          frameType.headers,
          flag.endHeaders | flag.endStream,
          id,
          blocks.encode({ ...grpcHead, "grpc-status": "5" }),
        ),
      );
      return;
    }
    const block = blocks.encode({ ...large, ...lines });
    for (let from = 0; from < block.length; from += 16_384) {
      const part = block.subarray(from, from + 16_384);
      const last = from + part.length === block.length ? flag.endHeaders : 0;
      socket.write(frame(from === 0 ? frameType.headers : frameType.continuation, last, id, part));
    }
  });
  expect((await failure()).code).toBe(14);
  // The connection may not survive what the reader bounds; the next call has a new one.
  expect([5, 14]).toContain((await failure()).code);
});

test("streams behind the last of a GOAWAY are opened again elsewhere, those before it go on", async () => {
  const { failure, sockets } = await rawServer((socket, nth) => {
    if (nth === 1) socket.write(goawayFrame(0, errorCode.noError));
    else socket.write(head(1, { ...grpcHead, "grpc-status": "5" }, true));
  });
  expect((await failure()).code).toBe(5);
  expect(sockets.length).toBe(2);
});

test("an answer that came whole while its reader paused is read to the end", async () => {
  const pieces = 20;
  const { client } = await rawServer((socket) => {
    socket.write(head(1, grpcHead));
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0x1f, 0x40]), Buffer.alloc(8000, "m")]);
    for (let i = 0; i < pieces; i++) socket.write(frame(frameType.data, 0, 1, message));
    socket.write(head(1, { "grpc-status": "0" }, true));
  });
  const call = client.stream("/a.B/C");
  call.end();
  const messages: number[] = [];
  for await (const message of call.responses) {
    messages.push(message.length);
    if (messages.length === 1) await new Promise((done) => setTimeout(done, 50));
  }
  expect(messages).toEqual(Array.from({ length: pieces }, () => 8000));
});

test("a ping is answered, and a lost connection ends its calls", async () => {
  let pong = false;
  const { failure, sockets } = await rawServer((socket) => {
    socket.on("data", (chunk: Buffer) => {
      pong ||= chunk[3] === frameType.ping && chunk[4] === flag.ack;
    });
    socket.write(frame(frameType.ping, 0, 0, Buffer.alloc(8, 7)));
  });
  const failing = failure();
  await until(() => pong, "the ping is answered");
  sockets[0]?.destroy();
  expect((await failing).code).toBe(14);
});
