import { describe, expect, test } from "bun:test";
import { canonicalMethod, canonicalTarget, methodTarget } from "./method-path.ts";

describe("canonicalTarget()", () => {
  test.each([
    ["/", "/"],
    ["/a/b?x=%2F..//#", "/a/b?x=%2F..//#"],
    ["/a//b", "/a/b"],
    ["/a/./b/", "/a/b"],
    ["/../../etc/passwd", "/etc/passwd"],
    ["/admin%2F..%2Fpublic", "/public"],
    ["/admin/%2e%2E/public?q", "/public?q"],
    ["/test%22stream", "/test%22stream"],
    ["/test%2Astream", "/test*stream"],
    ["/test%5Cstream", "/test%5Cstream"],
    ["/a%20b", "/a%20b"],
    ["/%C3%A4", "/%C3%A4"],
    ["/.well-known/x", "/.well-known/x"],
    ["/a!$&'()*+,;=:@[]~-._b", "/a!$&'()*+,;=:@[]~-._b"],
    ["/%2541", "/%2541"],
  ])("%s becomes %s", (target, expected) => {
    expect(canonicalTarget(target)).toBe(expected);
  });

  test.each(["/a%23b", "/a%3Fb", "/a%00", "/a%0Db", "/a%7f", "/a%zz", "/a%2", "/a%", "/a%25b"])(
    "refuses %s",
    (target) => {
      expect(() => canonicalTarget(target)).toThrow("invalid method");
    },
  );

  test("is idempotent", () => {
    for (const target of ["/a%2Fb/../c%20d", "/%2541/x", "//a/%2e/b%C3%A4/"]) {
      const once = canonicalTarget(target);
      expect(canonicalTarget(once)).toBe(once);
    }
  });
});

describe("canonicalMethod()", () => {
  test("resolves dots and slashes but decodes nothing", () => {
    expect(canonicalMethod("admin/../public/")).toBe("public");
    expect(canonicalMethod("api///v1///users")).toBe("api/v1/users");
    expect(canonicalMethod("admin%2F..%2Fpublic")).toBe("admin%2F..%2Fpublic");
    expect(canonicalMethod("test%stream")).toBe("test%stream");
    expect(canonicalMethod("..")).toBe("");
    expect(canonicalMethod("/a//b")).toBe("/a/b");
  });

  test.each(["a#b", "a?b", "a\0", "a\r"])("refuses %j", (method) => {
    expect(() => canonicalMethod(method)).toThrow("invalid method");
  });
});

test("methodTarget() encodes a literal name as UTF-8 and adds the query", () => {
  expect(methodTarget("a b/ä", "x=1")).toBe("/a%20b/%C3%A4?x=1");
  expect(methodTarget("", "")).toBe("/");
});
