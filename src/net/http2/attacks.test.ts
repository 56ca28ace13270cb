import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { createGrpcClient } from "../grpc/client.ts";
import { createGrpcServer, type GrpcServer } from "../grpc/server.ts";
import { clientPreface, errorCode, flag, frame, frameType, numberFrame, settingsFrame } from "./frames.ts";
import { HeaderEncoder } from "./header-encoder.ts";

let server: GrpcServer;
let port: number;

beforeAll(async () => {
  server = createGrpcServer({ lookup: () => ({ kind: "unary", handle: (request) => request }) });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  port = "port" in bound ? bound.port : 0;
});
afterAll(() => server.close());

const request = (encoder = new HeaderEncoder()): Buffer =>
  encoder.encode({
    ":method": "POST",
    ":scheme": "http",
    ":path": "/a.B/C",
    "content-type": "application/grpc",
  });

/**
 * Sends bytes; resolves with the code of the GOAWAY when the server has closed. Who still sends then may see no
 * GOAWAY: the reset that follows overtakes it.
 */
function attack(bytes: () => Iterable<Uint8Array>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.setTimeout(20_000, () => socket.destroy(new Error("the server did not close the connection")));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNRESET" && error.code !== "EPIPE") reject(error);
    });
    socket.on("data", (chunk: Buffer) => (received = Buffer.concat([received, chunk])));
    socket.on("close", () => resolve(goawayCode(received)));
    socket.on("connect", async () => {
      socket.write(Buffer.concat([clientPreface, settingsFrame([])]));
      for (const piece of bytes()) {
        if (socket.destroyed) return;
        if (!socket.write(piece)) await new Promise((done) => socket.once("drain", done).once("close", done));
      }
    });
  });
}

function goawayCode(received: Buffer): number | undefined {
  for (let at = 0; at + 9 <= received.length; ) {
    const length = received.readUIntBE(at, 3);
    if (received[at + 3] === frameType.goaway) return received.readUInt32BE(at + 9 + 4);
    at += 9 + length;
  }
  return undefined;
}

async function isServing(): Promise<void> {
  const client = createGrpcClient({ host: "127.0.0.1", port });
  expect(await client.unary("/a.B/C", Buffer.from("still here"))).toEqual(Buffer.from("still here"));
  client.close();
}

function* repeated(count: number, piece: (index: number) => Uint8Array): Generator<Uint8Array> {
  for (let i = 0; i < count; i += 100)
    yield Buffer.concat(Array.from({ length: 100 }, (_, index) => piece(i + index)));
}

const calm = errorCode.enhanceYourCalm;

test.each([
  [
    "streams opened and reset at once",
    calm,
    () =>
      repeated(40_000, (i) => {
        const id = i * 2 + 1;
        const opened = frame(frameType.headers, flag.endHeaders, id, request());
        return Buffer.concat([opened, numberFrame(frameType.rstStream, id, errorCode.cancel)]);
      }),
  ],
  [
    "streams that make the server reset them",
    calm,
    () =>
      repeated(40_000, (i) => {
        const id = i * 2 + 1;
        const opened = frame(frameType.headers, flag.endHeaders, id, request());
        return Buffer.concat([opened, numberFrame(frameType.windowUpdate, id, 0)]);
      }),
  ],
  [
    "a header block that never ends",
    calm,
    () => {
      const rest = frame(frameType.continuation, 0, 1, Buffer.alloc(8000));
      return [frame(frameType.headers, 0, 1, request()), ...repeated(1000, () => rest)];
    },
  ],
  [
    "a header block in pieces of nothing",
    calm,
    () => {
      const rest = frame(frameType.continuation, 0, 1, Buffer.alloc(0));
      return [frame(frameType.headers, 0, 1, request()), ...repeated(40_000, () => rest)];
    },
  ],
  ["a flood of settings", calm, () => repeated(60_000, () => settingsFrame([[4, 70_000]]))],
  ["a flood of pings", calm, () => repeated(60_000, () => frame(frameType.ping, 0, 0, Buffer.alloc(8)))],
  [
    "a flood of empty data",
    calm,
    () => {
      const empty = frame(frameType.data, 0, 1, Buffer.alloc(0));
      return [frame(frameType.headers, flag.endHeaders, 1, request()), ...repeated(60_000, () => empty)];
    },
  ],
  [
    "a frame above the size limit",
    errorCode.frameSizeError,
    () => [frame(frameType.data, 0, 1, Buffer.alloc(16_385))],
  ],
])(
  "%s ends the connection, and no other",
  async (_, code, bytes) => {
    const seen = await attack(bytes as () => Iterable<Uint8Array>);
    expect(seen ?? code).toBe(code);
    await isServing();
  },
  30_000,
);

test("a client may ping for each answer, as often as it likes", async () => {
  const count = 20_000;
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const wide = numberFrame(frameType.windowUpdate, 0, 1 << 24);
  const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8));
  const message = frame(frameType.data, flag.endStream, 0, Buffer.alloc(5));
  const encoder = new HeaderEncoder();
  let answered = 0;
  const ask = () => {
    const id = answered * 2 + 1;
    message.writeUInt32BE(id, 5);
    socket.write(
      Buffer.concat([ping, frame(frameType.headers, flag.endHeaders, id, request(encoder)), message]),
    );
  };
  const code = await new Promise<number | undefined>((resolve, reject) => {
    let rest = Buffer.alloc(0);
    socket.on("error", reject).on("close", () => resolve(goawayCode(rest)));
    socket.on("connect", () => {
      socket.write(Buffer.concat([clientPreface, settingsFrame([]), wide]));
      ask();
    });
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      const code = goawayCode(rest);
      if (code !== undefined) return resolve(code);
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const isEnd = rest[3] === frameType.headers && ((rest[4] ?? 0) & flag.endStream) !== 0;
        rest = rest.subarray(9 + rest.readUIntBE(0, 3));
        if (!isEnd) continue;
        if (++answered === count) return resolve(undefined);
        ask();
      }
    });
  });
  socket.destroy();
  expect([answered, code]).toEqual([count, undefined]);
}, 30_000);
