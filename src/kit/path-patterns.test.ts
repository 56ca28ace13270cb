import { expect, test } from "bun:test";
import { createPathMatcher } from "./path-patterns.ts";

test.each([
  ["/orders/1", "/orders/{id}"],
  ["/orders/new", "/orders/new"],
  ["/orders/1/items", "/orders/{id}/items"],
  ["/orders/1/other", "/orders/{id}/{rest...}"],
  ["/orders/1/a/b", "/orders/{id}/{rest...}"],
  ["/orders", undefined],
  ["/orders/", undefined],
  ["/tree/a/b", "/tree/"],
  ["/tree/", "/tree/"],
  ["/tree", undefined],
  ["/exact/", "/exact/{$}"],
  ["/exact/a", undefined],
  ["/", undefined],
])("createPathMatcher() finds the pattern of %s: %p", (path, pattern) => {
  const find = createPathMatcher([
    "/orders/{id}/{rest...}",
    "/orders/{id}",
    "/orders/new",
    "/orders/{id}/items",
    "/tree/",
    "/exact/{$}",
  ]);
  expect(find(path)).toBe(pattern);
});

test("createPathMatcher() takes the root for everything that is left", () => {
  const find = createPathMatcher(["/", "/a"]);
  expect([find("/a"), find("/b/c"), find("/")]).toEqual(["/a", "/", "/"]);
});
