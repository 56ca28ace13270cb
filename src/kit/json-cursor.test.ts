import { expect, test } from "bun:test";
import fc from "fast-check";
import { JsonCursor } from "./json-cursor.ts";

function values(text: string): string[] {
  const found: string[] = [];
  const cursor = new JsonCursor(text);
  cursor.array(() =>
    cursor.object((name) => (name === "value" ? found.push(cursor.value()) : cursor.skip())),
  );
  return found;
}

test("JsonCursor keeps numbers, spaces and key order of a value as they were sent", () => {
  const text = ` [ {"key":"a","value": 1.0 }, {"value":12345678901234567890},{"value":{"b" : 1,"a":[ ]}} ]`;
  expect(values(text)).toEqual(["1.0", "12345678901234567890", '{"b" : 1,"a":[ ]}']);
});

test("JsonCursor is not misled by quotes, brackets and escapes inside strings", () => {
  const text = String.raw`[{"k":"]}\\\"","value":"a\"}]"},{"v\u0061lue":"x\\","value2":1}]`;
  expect(values(text)).toEqual([String.raw`"a\"}]"`, String.raw`"x\\"`]);
});

test("JsonCursor cuts what JSON.parse reads", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.integer({ min: 0, max: 3 }), (items, indent) => {
      const wrapped = items.map((value) => ({ before: value, value, after: [value] }));
      const cut = values(JSON.stringify(wrapped, null, indent));
      expect(cut.map((text) => JSON.parse(text))).toEqual(JSON.parse(JSON.stringify(items)));
    }),
  );
});
