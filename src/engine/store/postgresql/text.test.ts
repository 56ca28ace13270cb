import { expect, test } from "bun:test";
import fc from "fast-check";
import { fromText, toText } from "./text.ts";

const texts = fc.string({ unit: fc.constantFrom("\0", "\x01", "\x02", "a", "é", "😀") });

test("any text comes back, without the character that PostgreSQL refuses", () => {
  fc.assert(
    fc.property(texts, (text) => {
      expect(toText(text)).not.toContain("\0");
      expect(fromText(toText(text))).toBe(text);
    }),
  );
});

test("order and prefixes are those of the text given", () => {
  fc.assert(
    fc.property(texts, texts, (one, other) => {
      expect(Buffer.compare(Buffer.from(toText(one)), Buffer.from(toText(other)))).toBe(
        Buffer.compare(Buffer.from(one), Buffer.from(other)),
      );
      expect(toText(one).startsWith(toText(other))).toBe(one.startsWith(other));
    }),
  );
});

test("a lone surrogate becomes the replacement character", () => {
  expect(toText("a\ud800")).toBe("a\ufffd");
});
