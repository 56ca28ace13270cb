import { expect, test } from "bun:test";
import { cleanPath, parameterNames, Router } from "./router.ts";

function routed(...patterns: string[]): Router<string> {
  const router = new Router<string>();
  for (const pattern of patterns) router.add(["GET"], pattern, pattern);
  return router;
}

test("Router finds literal segments before parameters", () => {
  const router = routed("/v1.0/state/{store}/{key}", "/v1.0/state/{store}/bulk");
  expect(router.find("GET", "/v1.0/state/s/bulk")?.route).toBe("/v1.0/state/{store}/bulk");
  expect(router.find("GET", "/v1.0/state/s/k")).toEqual({
    route: "/v1.0/state/{store}/{key}",
    values: ["s", "k"],
  });
});

test("Router goes back when a literal branch leads nowhere", () => {
  const router = routed("/publish/bulk/{pubsub}/{topic...}", "/publish/{pubsub}/{topic...}");
  expect(router.find("GET", "/publish/bulk/p/a/b")?.values).toEqual(["p", "a/b"]);
  expect(router.find("GET", "/publish/bulk/t")).toEqual({
    route: "/publish/{pubsub}/{topic...}",
    values: ["bulk", "t"],
  });
});

test("Router leaves escapes alone and refuses empty parameters and other verbs", () => {
  const router = routed("/state/{store}/{key}");
  expect(router.find("GET", "/state/a%2Fb/%2e%2e")?.values).toEqual(["a%2Fb", "%2e%2e"]);
  expect(router.find("GET", "/state//k")).toBeUndefined();
  expect(router.find("GET", "/state/s")).toBeUndefined();
  expect(router.find("POST", "/state/s/k")).toBeUndefined();
});

test("Router gives a path to the rest route when no other verb serves it", () => {
  const router = routed("/v1.0/healthz");
  router.add("any", "/{path...}", "fallback");
  expect(router.find("POST", "/v1.0/healthz")?.route).toBe("fallback");
  expect(router.find("GET", "/v1.0/healthz")?.route).toBe("/v1.0/healthz");
});

test("cleanPath() cleans as Go's path.Clean does", () => {
  const cases: [string, string][] = [
    ["/a/b", "/a/b"],
    ["/a/b/", "/a/b"],
    ["//a///b", "/a/b"],
    ["/a/./b/../c", "/a/c"],
    ["/../a", "/a"],
    ["/a/.hidden", "/a/.hidden"],
    ["/", "/"],
    ["", "/"],
    ["/a/%2e%2e/b", "/a/%2e%2e/b"],
  ];
  for (const [given, clean] of cases) expect(cleanPath(given)).toBe(clean);
});

test("parameterNames() lists names in order", () => {
  expect(parameterNames("/x/{store}/{topic...}")).toEqual(["store", "topic"]);
});
