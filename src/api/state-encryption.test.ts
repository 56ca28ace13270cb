import { expect, test } from "bun:test";
import { valueCipherOf } from "./state-encryption.ts";

const yesterday = "00112233445566778899aabbccddeeff";
const today = "ffeeddccbbaa99887766554433221100ffeeddccbbaa9988";
const secret = new TextEncoder().encode("secret");

function cipher(primary: string, secondary?: string) {
  const properties = new Map([["primaryencryptionkey", primary]]);
  if (secondary !== undefined) properties.set("secondaryencryptionkey", secondary);
  return valueCipherOf(properties) as NonNullable<ReturnType<typeof valueCipherOf>>;
}

test("valueCipherOf() is nothing without a key", () => {
  expect(valueCipherOf(new Map())).toBeUndefined();
});

test("valueCipherOf() reads what it wrote, after a change of keys too", () => {
  const stored = cipher(yesterday).encrypt(secret);
  expect(Buffer.from(stored).toString()).not.toContain("secret");
  expect(Buffer.from(cipher(today, yesterday).decrypt(stored)).toString()).toBe("secret");
  expect(() => cipher(today).decrypt(stored)).toThrow("is not known");
});

test("valueCipherOf() refuses what was changed or cut", () => {
  const stored = Buffer.from(cipher(yesterday).encrypt(secret));
  const flipped = Buffer.from(stored);
  flipped[4] = flipped[4] === 65 ? 66 : 65;
  expect(() => cipher(yesterday).decrypt(flipped)).toThrow();
  const cut = Buffer.from(`AAAA${stored.subarray(stored.indexOf("||"))}`);
  expect(() => cipher(yesterday).decrypt(cut)).toThrow("cut short");
});

test("valueCipherOf() refuses keys of other lengths", () => {
  expect(() => cipher("0011")).toThrow("16, 24 or 32 bytes");
  expect(() => cipher("zz".repeat(16))).toThrow("16, 24 or 32 bytes");
});
