import { expect, test } from "bun:test";
import { encodeFrame } from "./frame.ts";
import { HeldRequest } from "./held-request.ts";
import { GrpcError, type RequestStart } from "./types.ts";

const frame = (text: string): Buffer => encodeFrame(Buffer.from(text));
const first = frame("first");
const both = Buffer.concat([first, frame("second")]);

interface Case {
  pieces: Buffer[];
  isEnded?: boolean;
  bytesMax?: number;
  needsWhole?: boolean;
}

/** What is known of it at once; `undefined`: it is waited. */
async function startOf(of: Case): Promise<RequestStart | undefined> {
  const { pieces, isEnded = true, bytesMax = 1000, needsWhole = true } = of;
  const held = new HeldRequest();
  const started = held.start({ bytesMax, needsWhole });
  for (const piece of pieces) held.add(piece);
  if (isEnded) held.end();
  const start = await Promise.race([started, new Promise<undefined>((end) => setImmediate(end))]);
  held.cancel(new GrpcError(1, "over"));
  started.catch(() => {});
  return start;
}

test("a request that has ended is whole, unless it is too long", async () => {
  expect(await startOf({ pieces: [both] })).toEqual({ bytes: both, isWhole: true, isStream: false });
  expect(await startOf({ pieces: [], isEnded: true })).toMatchObject({ isWhole: true });
  expect(await startOf({ pieces: [both], bytesMax: both.length })).toMatchObject({ isWhole: true });
  const cut = { bytes: both.subarray(0, 12), isWhole: false, isStream: false };
  expect(await startOf({ pieces: [both], bytesMax: 12, isEnded: false })).toEqual(cut);
});

test("who can do with a start gets the first message of a stream at once, however it comes", async () => {
  const stream = { bytes: first, isWhole: false, isStream: true };
  const partly = { needsWhole: false };
  for (const isEnded of [true, false]) {
    expect(await startOf({ pieces: [both], isEnded, ...partly })).toEqual(stream);
    const bytes = [...both].map((byte) => Buffer.of(byte));
    expect(await startOf({ pieces: bytes, isEnded, ...partly })).toEqual(stream);
  }
  expect(await startOf({ pieces: [first], ...partly })).toEqual({
    ...stream,
    isWhole: true,
    isStream: false,
  });
  const cut = await startOf({ pieces: [first], isEnded: false, bytesMax: 7, ...partly });
  expect(cut).toEqual({ bytes: first.subarray(0, 7), isWhole: false, isStream: false });
});

test("what is not here yet is waited for", async () => {
  for (const needsWhole of [true, false]) {
    expect(await startOf({ pieces: [first], isEnded: false, needsWhole })).toBeUndefined();
    expect(await startOf({ pieces: [first.subarray(0, 7)], isEnded: false, needsWhole })).toBeUndefined();
    expect(await startOf({ pieces: [], isEnded: false, needsWhole })).toBeUndefined();
  }
  expect(await startOf({ pieces: [both], isEnded: false })).toBeUndefined();
});

test("a message whose sender says no more is a stream, and is looked at again from its beginning", async () => {
  const held = new HeldRequest();
  held.add(first.subarray(0, 3));
  const started = held.start({ bytesMax: 1000, needsWhole: false });
  held.add(first.subarray(3));
  expect(await started).toEqual({ bytes: first, isWhole: false, isStream: true });
  held.add(frame("second"));
  const again = held.start({ bytesMax: 1000, needsWhole: true });
  held.end();
  expect(await again).toEqual({ bytes: both, isWhole: true, isStream: false });
});

test("pieces of one byte are kept together, and none is lost", () => {
  const held = new HeldRequest();
  const all = Buffer.from(Array.from({ length: 20_000 }, (_, at) => at % 251));
  for (let at = 0; at < all.length; at++) {
    held.add(all.subarray(at, at + 1));
    if (at % 5000 === 0) expect(held.pieces.length).toBeGreaterThan(0);
  }
  expect(held.pieces.length).toBeLessThan(20);
  expect(Buffer.concat(held.pieces)).toEqual(all);
});

test("who waits learns that the caller has left", async () => {
  const held = new HeldRequest();
  const started = held.start({ bytesMax: 10, needsWhole: true });
  held.cancel(new GrpcError(1, "context canceled"));
  expect(await started.catch((error) => error.message)).toBe("context canceled");
});
