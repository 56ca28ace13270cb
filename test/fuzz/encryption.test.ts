import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { decryptDocument, encryptDocument } from "../../src/engine/encryption/document.ts";
import { runs } from "./settings.ts";

// Whatever is done to a document of Dapr's scheme: what comes out is a beginning of what went in, in whole segments, and
// the end of a changed one is an error. One change can not be told: a cut right behind the header.

const segment = 64 * 1024;
const key = randomBytes(32);
const wrap = async (fileKey: Uint8Array) =>
  Buffer.from(fileKey.map((byte, at) => byte ^ (key[at] as number)));

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function encrypt(plaintext: Uint8Array, cipher: "AES-GCM" | "CHACHA20-POLY1305"): Promise<Buffer> {
  const options = { keyName: "k", keyWrap: "A256KW", cipher, decryptionKeyName: "k", wrap } as const;
  return Buffer.concat(await Array.fromAsync(encryptDocument(inPieces(plaintext, 50_000), options)));
}

async function decrypt(document: Uint8Array, size: number): Promise<{ out: Buffer; isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  let isWhole = true;
  try {
    for await (const piece of decryptDocument(inPieces(document, size), { keyName: "", unwrap: wrap }))
      pieces.push(piece);
  } catch {
    isWhole = false;
  }
  return { out: Buffer.concat(pieces), isWhole };
}

const place = fc.double({ min: 0, max: 1, noNaN: true });
const change = fc.oneof(
  fc.record({ kind: fc.constant("flip" as const), at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant("cut" as const), at: place, length: fc.integer({ min: 1, max: 70_000 }) }),
  fc.record({
    kind: fc.constant("add" as const),
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 100 }),
  }),
  fc.record({ kind: fc.constant("end" as const), at: place }),
  fc.record({
    kind: fc.constant("repeat" as const),
    at: place,
    length: fc.constantFrom(1, 16, segment + 16),
  }),
  fc.record({
    kind: fc.constant("splice" as const),
    at: place,
    length: fc.constantFrom(1, 100, segment + 16),
  }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** `other` is another document of the same text. */
function changed(document: Buffer, one: Change, other: Buffer): Buffer {
  const at = Math.min(document.length - 1, Math.floor(one.at * document.length));
  const [before, after] = [document.subarray(0, at), document.subarray(at)];
  switch (one.kind) {
    case "flip": {
      const copy = Buffer.from(document);
      copy[at] = (copy[at] as number) ^ (1 << one.bit);
      return copy;
    }
    case "cut":
      return Buffer.concat([before, after.subarray(one.length)]);
    case "add":
      return Buffer.concat([before, one.bytes, after]);
    case "end":
      return before;
    case "repeat":
      return Buffer.concat([before, after.subarray(0, one.length), after]);
    case "splice":
      return Buffer.concat([before, other.subarray(at, at + one.length), after.subarray(one.length)]);
  }
}

test("a changed document gives a beginning of its text, and an error", async () => {
  const sizes = fc.oneof(
    fc.integer({ min: 1, max: 2_000 }),
    fc.integer({ min: segment - 2, max: 3 * segment + 2 }),
  );
  const ciphers = fc.constantFrom("AES-GCM" as const, "CHACHA20-POLY1305" as const);
  const chunks = fc.constantFrom(100, 4_096, segment, 200_000);
  const property = fc.asyncProperty(sizes, ciphers, chunks, change, async (size, cipher, chunk, one) => {
    const plaintext = randomBytes(size);
    const [document, other] = [await encrypt(plaintext, cipher), await encrypt(plaintext, cipher)];
    const bad = changed(document, one, other);
    const { out, isWhole } = await decrypt(bad, chunk);
    expect(out.equals(plaintext.subarray(0, out.length))).toBe(true);
    if (bad.equals(document) || bad.equals(other)) return expect([isWhole, out.length]).toEqual([true, size]);
    const header = document.length - size - 16 * Math.ceil(size / segment);
    if (isWhole) return expect([bad.length, out.length]).toEqual([header, 0]);
    expect(out.length % segment).toBe(0);
  });
  await fc.assert(property, runs(300));
}, 120_000);
