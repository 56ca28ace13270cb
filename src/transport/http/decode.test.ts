import { expect, test } from "bun:test";
import { InvalidEscape, parseQuery, queryUnescape } from "./decode.ts";

test("queryUnescape() decodes once, with + as a space", () => {
  expect(queryUnescape("a+b%2Bc%252F")).toBe("a b+c%2F");
  expect(queryUnescape("caf%C3%A9")).toBe("café");
});

test("queryUnescape() names a malformed escape", () => {
  expect(() => queryUnescape("a%zz")).toThrow(new InvalidEscape("%zz"));
  expect(() => queryUnescape("a%")).toThrow(new InvalidEscape("%"));
  expect(() => queryUnescape("%ff")).toThrow(InvalidEscape);
});

test("parseQuery() keeps order and repetition and leaves malformed pairs out", () => {
  expect(parseQuery("key=a&key=b%20c&&flag&bad=%zz&x==1")).toEqual([
    ["key", "a"],
    ["key", "b c"],
    ["flag", ""],
    ["x", "=1"],
  ]);
});
