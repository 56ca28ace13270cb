import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { jsonMembers } from "./json-members.ts";

describe("jsonMembers()", () => {
  test("keeps each value as the text it stands", () => {
    const text = ' { "n" : 12345678901234567890.10 , "s":"a\\"}b", "o": {"x": [1, {"y":"]"}]} ,"t":true}';
    expect([...jsonMembers(text)]).toEqual([
      ["n", "12345678901234567890.10"],
      ["s", '"a\\"}b"'],
      ["o", '{"x": [1, {"y":"]"}]}'],
      ["t", "true"],
    ]);
  });

  test("decodes escaped names and lets the last of equal names count", () => {
    expect([...jsonMembers('{"d\\u0061ta":1,"data":2}')]).toEqual([["data", "2"]]);
  });

  test("is empty for the empty object", () => {
    expect(jsonMembers(" {} ").size).toBe(0);
  });

  test("agrees with JSON.parse on any object", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.constantFrom(0, 1, "\t"),
        (object, indent) => {
          const text = JSON.stringify(object, null, indent);
          const parsed = JSON.parse(text) as Record<string, unknown>;
          const members = jsonMembers(text);
          expect(members.size).toBe(Object.keys(parsed).length);
          for (const [name, value] of members) expect(JSON.parse(value)).toEqual(parsed[name]);
        },
      ),
    );
  });
});
