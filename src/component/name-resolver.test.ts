import { expect, test } from "bun:test";
import { isNamePart, parseAddress } from "./name-resolver.ts";

test.each([
  ["orders", "orders", 7],
  ["orders.example:80", "orders.example", 80],
  ["127.0.0.1:65535", "127.0.0.1", 65_535],
  ["[::1]:80", "::1", 80],
  ["[fe80::1]", "fe80::1", 7],
  ["::1", "::1", 7],
])("parseAddress(%s)", (text, host, port) => {
  expect(parseAddress(text, 7)).toEqual({ host, port });
});

test.each(["", ":80", "a:0", "a:65536", "a:b", "a/b", "a b", "[::1", "http://a", "a@b:1/"])(
  "parseAddress(%s) throws",
  (text) => {
    expect(() => parseAddress(text, 7)).toThrow("is no host:port");
  },
);

test("isNamePart() takes what is one part of a host name", () => {
  expect(["a", "A-1", "a_b", "0"].every(isNamePart)).toBe(true);
  expect(["", "-a", "a-", "a.b", "a:1", "a/b", "a b", "ä"].some(isNamePart)).toBe(false);
});
