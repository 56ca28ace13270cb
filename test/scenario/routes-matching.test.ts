import { afterEach, describe, expect, test } from "bun:test";
import { Cleanup, eventually } from "../mecha-process.ts";
import { httpRoute, openRoutes, type RoutesWorld, to } from "./routes-fixture.ts";

// The matching of Gateway API's conformance suite, retold for calls by app id.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

type Expectation = [line: string, headers: Record<string, string>, backend: string | number];

async function expectAll(world: RoutesWorld, expectations: readonly Expectation[]): Promise<void> {
  const got: Expectation[] = [];
  for (const [line, headers] of expectations) got.push([line, headers, await world.backendOf(line, headers)]);
  expect(got).toEqual([...expectations]);
}

test("HTTPRouteSimpleSameNamespace: a rule without matches takes all", async () => {
  const world = await openRoutes(cleanup, [httpRoute([{ backendRefs: to("v1") }])]);
  await expectAll(world, [
    ["GET /", {}, "v1"],
    ["POST /a/b?c=d", {}, "v1"],
  ]);
});

test("HTTPRouteExactPathMatching", async () => {
  const exact = (value: string) => [{ path: { type: "Exact", value } }];
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: exact("/one"), backendRefs: to("v1") },
      { matches: exact("/two"), backendRefs: to("v2") },
    ]),
  ]);
  await expectAll(world, [
    ["GET /one", {}, "v1"],
    ["GET /two", {}, "v2"],
    ["GET /", {}, 404],
    ["GET /one/example", {}, 404],
    ["GET /One", {}, 404],
    ["GET /o%6ee", {}, "v1"],
    ["GET /two/../one", {}, "v1"],
  ]);
});

test("HTTPRouteMatching and HTTPRoutePathMatchOrder: by segments, the longest first", async () => {
  const prefix = (value: string) => [{ path: { type: "PathPrefix", value } }];
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: [...prefix("/"), { headers: [{ name: "version", value: "one" }] }], backendRefs: to("v1") },
      { matches: prefix("/v2/"), backendRefs: to("v2") },
      { matches: prefix("/v2/three"), backendRefs: to("v3") },
      { matches: [{ path: { type: "Exact", value: "/v2/three/exact" } }], backendRefs: to("v1") },
    ]),
  ]);
  await expectAll(world, [
    ["GET /", {}, "v1"],
    ["GET /v2", {}, "v2"],
    ["GET /v2/", {}, "v2"],
    ["GET /v2example", {}, "v1"],
    ["GET /v2/threefold", {}, "v2"],
    ["GET /v2/three/x", {}, "v3"],
    ["GET /v2/three/exact", {}, "v1"],
  ]);
});

test("HTTPRouteHeaderMatching", async () => {
  const headers = (...all: [string, string][]) => [
    { headers: all.map(([name, value]) => ({ name, value })) },
  ];
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: headers(["version", "one"]), backendRefs: to("v1") },
      { matches: headers(["version", "two"]), backendRefs: to("v2") },
      { matches: headers(["version", "two"], ["color", "orange"]), backendRefs: to("v1") },
      { matches: [...headers(["color", "blue"]), ...headers(["color", "green"])], backendRefs: to("v3") },
      {
        matches: [{ headers: [{ name: "id", type: "RegularExpression", value: "[0-9]+" }] }],
        backendRefs: to("v3"),
      },
    ]),
  ]);
  await expectAll(world, [
    ["GET /", { Version: "one" }, "v1"],
    ["GET /", { version: "two" }, "v2"],
    ["GET /", { version: "two", color: "orange" }, "v1"],
    ["GET /", { color: "orange" }, 404],
    ["GET /", { color: "green" }, "v3"],
    ["GET /", { id: "42" }, "v3"],
    ["GET /", { id: "x42" }, 404],
  ]);
});

test("HTTPRouteQueryParamMatching", async () => {
  const params = (...all: [string, string][]) => [
    { queryParams: all.map(([name, value]) => ({ name, value })) },
  ];
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: params(["animal", "whale"]), backendRefs: to("v1") },
      { matches: params(["animal", "dolphin"]), backendRefs: to("v2") },
      { matches: params(["animal", "dolphin"], ["color", "blue"]), backendRefs: to("v3") },
      { matches: params(["ANIMAL", "Whale fish"]), backendRefs: to("v3") },
    ]),
  ]);
  await expectAll(world, [
    ["GET /?animal=whale", {}, "v1"],
    ["GET /?animal=dolphin&x=1", {}, "v2"],
    ["GET /?animal=dolphin&color=blue", {}, "v3"],
    ["GET /?ANIMAL=Whale%20fish", {}, "v3"],
    ["GET /?animal=shark", {}, 404],
    ["GET /?color=blue", {}, 404],
    ["GET /", {}, 404],
  ]);
});

test("HTTPRouteMethodMatching", async () => {
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: [{ method: "POST" }], backendRefs: to("v1") },
      { matches: [{ method: "GET" }], backendRefs: to("v2") },
      { matches: [{ path: { value: "/path5" }, method: "PATCH" }], backendRefs: to("v1") },
      {
        matches: [{ path: { value: "/path5" }, headers: [{ name: "version", value: "five" }] }],
        backendRefs: to("v3"),
      },
    ]),
  ]);
  await expectAll(world, [
    ["POST /", {}, "v1"],
    ["GET /", {}, "v2"],
    ["HEAD /", {}, 404],
    // A method outranks headers.
    ["PATCH /path5", { version: "five" }, "v1"],
    ["PUT /path5", { version: "five" }, "v3"],
  ]);
});

test("HTTPRouteMatchingAcrossRoutes: the older route wins, then its name", async () => {
  const route = (name: string, backend: string, created: string) =>
    httpRoute([{ backendRefs: to(backend) }], name).replace(
      `{ name: ${name} }`,
      `{ name: ${name}${created === "" ? "" : `, creationTimestamp: "${created}"`} }`,
    );
  const world = await openRoutes(cleanup, [
    route("a", "v1", "2026-02-01T00:00:00Z"),
    route("b", "v2", "2026-01-01T00:00:00Z"),
    route("c", "v3", ""),
  ]);
  expect(await world.backendOf("GET /")).toBe("v2");
  world.write(route("b", "v2", ""), route("a", "v1", ""));
  await eventually(async () => expect(await world.backendOf("GET /")).toBe("v1"));
});

describe("the path that is judged is the one that is dispatched", () => {
  test("no spelling gets round a rule", async () => {
    const world = await openRoutes(cleanup, [
      httpRoute([
        { matches: [{ path: { value: "/" } }], backendRefs: to("v1") },
        { matches: [{ path: { value: "/admin" } }], backendRefs: to("v2") },
      ]),
    ]);
    for (const path of ["/admin", "//admin", "/x/../admin", "/%61dmin/x", "/./admin/", "/admin%2Fx"]) {
      expect([path, await world.backendOf(`GET ${path}`)]).toEqual([path, "v2"]);
    }
    expect(world.backends.v2.requests.every(({ target }) => target.startsWith("/admin"))).toBe(true);
  });

  test("by the header dapr-app-id too", async () => {
    const world = await openRoutes(cleanup, [httpRoute([{ backendRefs: to("v3") }])]);
    const answer = await world.mecha.http("caller", "GET /x/y", {
      headers: { "dapr-app-id": "infra", "dapr-api-token": "t" },
    });
    expect(answer.text).toBe("v3");
    expect(world.backends.v3.requests[0]?.target).toBe("/x/y");
  });
});
