import { expect, test } from "bun:test";
import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { writeChunk, writeMessage, writeText } from "./message-writer.ts";
import { Outlet } from "./outlet.ts";

/** A socket whose kernel takes a write only when `take` is called; it keeps the very buffer, as libuv does. */
class SlowSocket extends Writable {
  taken = "";
  isSlow = true;
  isDropped = false;
  private waiting: (() => void)[] = [];

  override _write(data: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const take = (): void => {
      this.taken += Buffer.from(data).toString("latin1");
      done();
    };
    if (this.isSlow) this.waiting.push(take);
    else take();
  }

  take(): void {
    this.waiting.shift()?.();
  }

  destroySoon(): void {
    this.end();
    this.isDropped = true;
  }
}

function slowOutlet(): { socket: SlowSocket; out: Outlet; drains: () => number } {
  const socket = new SlowSocket();
  let drains = 0;
  const out = new Outlet(socket as unknown as Socket, () => drains++);
  socket.on("drain", () => drains++);
  return { socket, out, drains: () => drains };
}

test("Outlet writes at once what the socket takes at once", () => {
  const { socket, out, drains } = slowOutlet();
  socket.isSlow = false;
  expect(writeText(out, "head ", "text ")).toBe(true);
  expect(writeMessage(out, "head ", Buffer.from("bytes "))).toBe(true);
  expect(writeChunk(out, Buffer.from("chunk"))).toBe(true);
  expect(socket.taken).toBe("head text head bytes 5\r\nchunk\r\n");
  expect(drains()).toBe(0);
});

test("Outlet keeps the order and says when there is room again", async () => {
  const { socket, out, drains } = slowOutlet();
  expect(writeText(out, "one ", "")).toBe(false);
  expect(out.hasRoom).toBe(false);
  expect(writeMessage(out, "two ", Buffer.from("three "))).toBe(false);
  out.cork();
  out.write("four ", "latin1");
  out.uncork();
  expect(drains()).toBe(0);
  for (let i = 0; i < 4; i++) {
    socket.take();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(socket.taken).toBe("one two three four ");
  expect(drains()).toBeGreaterThan(0);
  expect(out.hasRoom).toBe(true);
});

test("Outlet ends after what is under way", async () => {
  const { socket, out } = slowOutlet();
  out.write(Buffer.from("last"));
  out.end();
  expect(socket.writableEnded).toBe(false);
  expect(out.write(Buffer.from("too late"))).toBe(true);
  socket.take();
  await new Promise((resolve) => socket.once("finish", resolve));
  expect(socket.taken).toBe("last");
  const other = slowOutlet();
  other.out.write(Buffer.from("last"));
  other.out.endAndDestroy();
  expect(other.socket.isDropped).toBe(false);
  other.socket.take();
  expect(other.socket.isDropped).toBe(true);
});

test("messages waiting in different sockets do not share their bytes", async () => {
  const outlets = Array.from({ length: 5 }, slowOutlet);
  for (const [i, { out }] of outlets.entries()) {
    if (i % 3 === 0) writeText(out, "text ", String(i));
    else if (i % 3 === 1) writeMessage(out, "bytes ", Buffer.from(String(i)));
    else writeChunk(out, Buffer.from(String(i)));
  }
  for (const { socket } of outlets) socket.take();
  expect(outlets.map(({ socket }) => socket.taken)).toEqual([
    "text 0",
    "bytes 1",
    "1\r\n2\r\n",
    "text 3",
    "bytes 4",
  ]);
});
