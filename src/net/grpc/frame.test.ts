import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeFrame, FrameReader, soleMessage } from "./frame.ts";

function readAll(reader: FrameReader): { compressed: boolean; payload: Uint8Array }[] {
  const frames = [];
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  return frames;
}

test("FrameReader finds the messages however the bytes are cut", () => {
  const message = fc.record({ payload: fc.uint8Array({ maxLength: 300 }), compressed: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 400 })),
      (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(({ payload, compressed }) => encodeFrame(payload, compressed)));
        const reader = new FrameReader(1000);
        const received = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          reader.push(bytes.subarray(at, at + cut));
          at += cut;
          if (cut % 3 !== 0) received.push(...readAll(reader));
        }
        received.push(...readAll(reader));
        expect(received.map(({ payload, compressed }) => ({ payload: [...payload], compressed }))).toEqual(
          sent.map(({ payload, compressed }) => ({ payload: [...payload], compressed })),
        );
        expect(reader.rest).toBe(0);
      },
    ),
  );
});

test("FrameReader keeps a message it has handed out when more bytes come", () => {
  const reader = new FrameReader(100);
  const frame = encodeFrame(Uint8Array.of(1, 2, 3));
  reader.push(frame.subarray(0, 4));
  reader.push(frame.subarray(4));
  const first = reader.next()?.payload;
  reader.push(encodeFrame(Uint8Array.of(9, 9, 9)));
  reader.next();
  expect([...(first ?? [])]).toEqual([1, 2, 3]);
});

test("FrameReader refuses an announced size above the limit before the bytes come", () => {
  const reader = new FrameReader(10);
  reader.push(Uint8Array.of(0, 0, 0, 0, 11));
  expect(() => reader.next()).toThrow("grpc: received message larger than max (11 vs. 10)");
});

test("soleMessage() takes exactly one plain message", () => {
  const frame = encodeFrame(Uint8Array.of(1, 2));
  expect([...(soleMessage(frame, 10) ?? [])]).toEqual([1, 2]);
  expect(soleMessage(frame, 1)).toBeUndefined();
  expect(soleMessage(frame.subarray(0, 6), 10)).toBeUndefined();
  expect(soleMessage(Buffer.concat([frame, frame]), 10)).toBeUndefined();
  expect(soleMessage(encodeFrame(Uint8Array.of(1), true), 10)).toBeUndefined();
});
