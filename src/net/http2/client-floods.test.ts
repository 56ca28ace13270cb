import { afterEach, expect, spyOn, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import { until } from "../../testing/until.ts";
import { createGrpcClient } from "../grpc/client.ts";
import type { GrpcError } from "../grpc/types.ts";
import {
  clientPreface,
  errorCode,
  flag,
  frame,
  frameType,
  goawayFrame,
  numberFrame,
  settingsFrame,
} from "./frames.ts";
import { HeaderEncoder } from "./header-encoder.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const framesMax = 60_000;
const greetingBytesMax = clientPreface.length + 100;
const nothing = Buffer.alloc(0);
const grpcHead = { ":status": "200", "content-type": "application/grpc" };
const headOf = (headers: Record<string, string>, flags: number = flag.endHeaders): Buffer =>
  frame(frameType.headers, flags, 1, new HeaderEncoder().encode(headers));

/** Sends one frame again and again as soon as it is called, and never ends the connection of its own accord. */
async function floodingServer(first: Uint8Array, piece: Uint8Array) {
  let sent = 0;
  let heard: Buffer = nothing;
  let isOver = false;
  const sockets: Socket[] = [];
  const many = Buffer.concat(Array.from({ length: 100 }, () => piece));
  const flood = async (socket: Socket): Promise<void> => {
    for (socket.write(first); sent < framesMax && !socket.destroyed; sent += 100) {
      socket.write(many);
      await new Promise(setImmediate);
    }
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write(settingsFrame([]));
    socket.on("end", () => {
      isOver = true;
    });
    socket.on("data", (chunk: Buffer) => {
      const before = heard.length;
      heard = Buffer.concat([heard, chunk]);
      // What is longer than preface, SETTINGS and WINDOW_UPDATE holds the call.
      if (before <= greetingBytesMax && heard.length > greetingBytesMax) void flood(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port, isOver: () => isOver, goodbye: () => goodbyeIn(heard) };
}

function goodbyeIn(heard: Buffer): number | undefined {
  for (let at = clientPreface.length; at + 9 <= heard.length; at += 9 + heard.readUIntBE(at, 3))
    if (heard[at + 3] === frameType.goaway) return heard.readUInt32BE(at + 9 + 4);
  return undefined;
}

const floods: [what: string, first: Uint8Array, piece: Uint8Array][] = [
  ["pings", nothing, frame(frameType.ping, 0, 0, Buffer.alloc(8))],
  ["answers to no ping", nothing, frame(frameType.ping, flag.ack, 0, Buffer.alloc(8))],
  ["settings", nothing, settingsFrame([[4, 70_000]])],
  ["settings that are acknowledged", nothing, frame(frameType.settings, flag.ack, 0, nothing)],
  ["resets of a stream that is over", headOf({ ":status": "100" }), numberFrame(frameType.rstStream, 1, 8)],
  ["empty data", headOf(grpcHead), frame(frameType.data, 0, 1, nothing)],
  ["heads that announce another", nothing, headOf({ ":status": "103" })],
  ["goodbyes", nothing, goawayFrame(1, 0)],
];

test.each(floods)(
  "a flood of %s ends the connection and its call",
  async (_, first, piece) => {
    const { port, isOver, goodbye } = await floodingServer(first, piece);
    const client = createGrpcClient({ host: "127.0.0.1", port }, { connectTimeoutMs: 5000 });
    closers.push(() => client.close());
    const held = Buffer.alloc(4096);
    const error = await client.unary("/a.B/C", held).catch((thrown: GrpcError) => thrown);
    expect((error as GrpcError).code).toBeNumber();
    await until(isOver, "the end of the connection", 20_000);
    expect(goodbye()).toBe(errorCode.enhanceYourCalm);
  },
  30_000,
);

test("a server may ping for each request that it reads, when it has pinged too often before", async () => {
  // Nothing is forgiven by time.
  const clock = spyOn(performance, "now").mockReturnValue(performance.now());
  closers.push(() => clock.mockRestore());
  const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8));
  const block = Buffer.from(new HeaderEncoder().encode({ ...grpcHead, "grpc-status": "5" }));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.write(Buffer.concat([settingsFrame([]), ...Array.from({ length: 9900 }, () => ping)]));
    let rest = nothing;
    let isGreeted = false;
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      if (!isGreeted) rest = rest.subarray(clientPreface.length);
      isGreeted = true;
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const [, , , type, flags = 0] = rest;
        const id = rest.readUInt32BE(5);
        rest = rest.subarray(9 + rest.readUIntBE(0, 3));
        if (type !== frameType.data || (flags & flag.endStream) === 0) continue;
        const end = frame(frameType.headers, flag.endHeaders | flag.endStream, id, block);
        socket.write(Buffer.concat([ping, end]));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const client = createGrpcClient({ host: "127.0.0.1", port });
  closers.push(() => client.close());
  const ask = () => client.unary("/a.B/C", new Uint8Array(1)).catch((error: GrpcError) => error.code);
  const seen = new Set<unknown>();
  for (let call = 0; call < 300; call++) seen.add(await ask());
  expect([...seen]).toEqual([5]);
  expect(sockets).toHaveLength(1);
}, 30_000);
