import { expect, test } from "bun:test";
import { globPattern } from "./workflow-access-policy-kind.ts";

test.each([
  ["order", "order", true],
  ["order", "orders", false],
  ["order-*", "order-1", true],
  ["order-*", "order-a/b", false],
  ["*", "anything", true],
  ["?ill", "bill", true],
  ["?ill", "ill", false],
  ["v[1-3]", "v2", true],
  ["v[1-3]", "v4", false],
  ["v[^1-3]", "v4", true],
  ["a.b", "axb", false],
  ["(a|b)+", "(a|b)+", true],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["[a\\]]", "]", true],
  ["[a&&b]", "&", true],
  ["日*", "日本", true],
])("globPattern(%p) and %p: %p", (glob, name, isMatch) => {
  expect(globPattern(glob)?.test(name)).toBe(isMatch);
});

test.each(["[", "[]", "a\\", "[b-a]"])("globPattern(%p) is none", (glob) => {
  expect(globPattern(glob)).toBeUndefined();
});
