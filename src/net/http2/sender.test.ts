import { expect, test } from "bun:test";
import type { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Sender } from "./sender.ts";

/** What reaches the socket, write by write. */
function open(): { sender: Sender; writes: string[] } {
  const writes: string[] = [];
  const socket = {
    ...{ writableLength: 0, writableCorked: 0, destroyed: false },
    _write(data: Uint8Array, _encoding: string, written: () => void) {
      writes.push(Buffer.from(data).toString());
      written();
    },
  };
  return { sender: new Sender(socket as unknown as Socket, () => undefined), writes };
}

const text = (content: string) => Buffer.from(content);

test("frames of a batch leave together, at once", () => {
  const { sender, writes } = open();
  sender.beginBatch();
  sender.push(text("a"));
  sender.push(text("b"));
  sender.endBatch(false);
  expect(writes).toEqual(["ab"]);
});

test("a batch behind which more is expected leaves with what the turn of the event loop adds", async () => {
  const { sender, writes } = open();
  sender.beginBatch();
  sender.push(text("answer "));
  sender.endBatch(true);
  await Promise.resolve();
  sender.push(text("next item"));
  expect(writes).toEqual([]);
  await nextTurn();
  expect(writes).toEqual(["answer next item"]);
});

test("what a socket does not take at once stays as it is while more is sent", async () => {
  const taken: Uint8Array[] = [];
  let written = (): void => {};
  const socket = {
    ...{ writableLength: 0, writableCorked: 0, writableNeedDrain: false, destroyed: false },
    _write(data: Uint8Array, _encoding: string, done: () => void) {
      taken.push(data);
      written = done;
    },
    write(data: Uint8Array) {
      taken.push(data);
      return true;
    },
  };
  const sender = new Sender(socket as unknown as Socket, () => undefined);
  const other = open();
  sender.push(text("first"));
  await nextTurn();
  expect(sender.isBlocked).toBe(true);
  sender.push(text("second"));
  for (let n = 0; n < 20; n++) other.sender.push(text("other"));
  await nextTurn();
  written();
  await nextTurn();
  expect(Buffer.concat(taken).toString()).toBe("firstsecond");
});

test("many frames of one turn leave in their order, whatever their size", async () => {
  const { sender, writes } = open();
  const pieces = Array.from({ length: 100 }, (_, n) => `${n}`.repeat(n * 7));
  for (const piece of pieces) sender.push(text(piece));
  await nextTurn();
  expect(writes.join("")).toBe(pieces.join(""));
});
