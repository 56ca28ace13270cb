import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { prefixEnd } from "./prefix.ts";

/** SQLite's order of texts. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

describe("prefixEnd()", () => {
  test("has no end for the empty prefix and the last character", () => {
    expect(prefixEnd("")).toBeUndefined();
    expect(prefixEnd("\u{10ffff}")).toBeUndefined();
    expect(prefixEnd("a\u{10ffff}")).toBe("b");
  });

  test("skips the surrogates, which are no characters", () => {
    expect(prefixEnd("\ud7ff")).toBe("\ue000");
  });

  test("parts exactly the texts with the prefix from those without", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 4 });
    fc.assert(
      fc.property(text, text, (prefix, other) => {
        const end = prefixEnd(prefix);
        const isWithin = compare(other, prefix) >= 0 && (end === undefined || compare(other, end) < 0);
        expect(isWithin).toBe(other.startsWith(prefix));
        expect(compare(prefix + other, prefix) >= 0).toBe(true);
        if (end !== undefined) expect(compare(prefix + other, end) < 0).toBe(true);
      }),
    );
  });
});
