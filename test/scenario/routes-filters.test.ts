import { afterEach, expect, test } from "bun:test";
import { fakeApp } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { httpRoute, openRoutes, to } from "./routes-fixture.ts";

// The filters of Gateway API's conformance suite, retold for calls by app id.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const prefix = (value: string) => [{ path: { type: "PathPrefix", value } }];
const headerFilter = (type: "request" | "response", change: object) => ({
  type: type === "request" ? "RequestHeaderModifier" : "ResponseHeaderModifier",
  [`${type}HeaderModifier`]: change,
});
const change = {
  set: [{ name: "X-Set", value: "new" }],
  add: [{ name: "X-Add", value: "more" }],
  remove: ["X-Remove"],
};

test("HTTPRouteRequestHeaderModifier, and …BackendRequestHeaderModification", async () => {
  const [backend] = to("v1");
  const add = headerFilter("request", { add: [{ name: "X-Add", value: "backend" }] });
  const world = await openRoutes(cleanup, [
    httpRoute([
      { filters: [headerFilter("request", change)], backendRefs: [{ ...backend, filters: [add] }] },
    ]),
  ]);
  await world.call("GET /", { "X-Set": "old", "x-add": "some", "x-remove": "gone", "x-keep": "kept" });
  await world.call("GET /");
  const [first, second] = world.backends.v1.requests;
  const seen = (request = first) =>
    ["x-set", "x-add", "x-remove", "x-keep"].map((name) => request?.header(name));
  expect(seen()).toEqual(["new", "some,more,backend", undefined, "kept"]);
  expect(seen(second)).toEqual(["new", "more,backend", undefined, undefined]);
});

test("HTTPRouteResponseHeaderModification, and …BackendRefResponseHeaderModification", async () => {
  const [backend] = to("v1");
  const set = headerFilter("response", { set: [{ name: "X-Add", value: "backend" }] });
  const world = await openRoutes(
    cleanup,
    [
      httpRoute([
        { filters: [headerFilter("response", change)], backendRefs: [{ ...backend, filters: [set] }] },
      ]),
    ],
    () => ({ headers: { "X-Set": "old", "X-Remove": "gone", "X-Keep": "kept" } }),
  );
  const answer = await world.call("GET /");
  const seen = ["x-set", "x-add", "x-remove", "x-keep"].map((name) => answer.header(name));
  expect(seen).toEqual(["new", "backend,more", undefined, "kept"]);
});

test("a caller's identity can not be written by a filter", async () => {
  const forged = headerFilter("request", { set: [{ name: "dapr-caller-app-id", value: "root" }] });
  const world = await openRoutes(cleanup, [httpRoute([{ filters: [forged], backendRefs: to("v1") }])]);
  await world.call("GET /");
  expect(world.backends.v1.requests[0]?.header("dapr-caller-app-id")).toBe("caller");
});

test("HTTPRouteRewritePath", async () => {
  const rewrite = (path: object) => [{ type: "URLRewrite", urlRewrite: { path } }];
  const replace = (value: string) => rewrite({ type: "ReplacePrefixMatch", replacePrefixMatch: value });
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: prefix("/prefix/one"), filters: replace("/one"), backendRefs: to("v1") },
      { matches: prefix("/strip-prefix"), filters: replace("/"), backendRefs: to("v1") },
      {
        matches: prefix("/full"),
        filters: rewrite({ type: "ReplaceFullPath", replaceFullPath: "/one" }),
        backendRefs: to("v1"),
      },
    ]),
  ]);
  const calls = [
    "/prefix/one/two?a=b",
    "/prefix/one",
    "/strip-prefix/three",
    "/strip-prefix",
    "/full/two/three?x=1",
  ];
  for (const path of calls) await world.call(`GET ${path}`);
  const targets = world.backends.v1.requests.map(({ target }) => target);
  expect(targets).toEqual(["/one/two?a=b", "/one", "/three", "/", "/one?x=1"]);
});

test("HTTPRouteRewriteHost", async () => {
  const outside = await fakeApp({ otherwise: () => ({ body: "outside" }) });
  cleanup.add(() => outside.close());
  const filters = [{ type: "URLRewrite", urlRewrite: { hostname: "one.example.org" } }];
  const endpoint = { group: "dapr.io", kind: "HTTPEndpoint", name: "outside" };
  const world = await openRoutes(cleanup, [
    httpRoute([
      { matches: prefix("/app"), filters, backendRefs: to("v1") },
      { matches: prefix("/out"), filters, backendRefs: [endpoint] },
    ]),
    `apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: { name: outside }
spec: { baseUrl: "http://127.0.0.1:${outside.port}" }`,
  ]);
  await world.call("GET /app");
  expect((await world.call("GET /out")).text).toBe("outside");
  expect(world.backends.v1.requests[0]?.header("host")).toBe("one.example.org");
  expect(outside.requests[0]?.header("host")).toBe("one.example.org");
});

test("HTTPRoutePathRedirect, …HostAndStatus, …SchemeRedirect, …PortRedirect", async () => {
  const redirect = (path: string, requestRedirect: object) => ({
    matches: prefix(path),
    filters: [{ type: "RequestRedirect", requestRedirect }],
  });
  const replace = { type: "ReplacePrefixMatch", replacePrefixMatch: "/new" };
  const world = await openRoutes(cleanup, [
    httpRoute([
      redirect("/old", { path: replace }),
      redirect("/full", { path: { type: "ReplaceFullPath", replaceFullPath: "/x" }, statusCode: 301 }),
      redirect("/host", { hostname: "example.org", statusCode: 308 }),
      redirect("/scheme", { scheme: "https", hostname: "example.org" }),
      redirect("/port", { port: 8083, hostname: "example.org", statusCode: 307 }),
      redirect("/both", { scheme: "https", port: 443, hostname: "example.org", statusCode: 303 }),
    ]),
  ]);
  const { http } = world.mecha.ports("caller");
  const got: unknown[] = [];
  for (const path of ["/old/a?b=c", "/full/a", "/host/a", "/scheme", "/port", "/both"]) {
    const { status, header } = await world.call(`GET ${path}`);
    got.push([status, header("location")]);
  }
  expect(got).toEqual([
    [302, `http://127.0.0.1:${http}/new/a?b=c`],
    [301, `http://127.0.0.1:${http}/x`],
    [308, `http://example.org:${http}/host/a`],
    [302, "https://example.org/scheme"],
    [307, "http://example.org:8083/port"],
    [303, "https://example.org/both"],
  ]);
});

test("HTTPRouteRequestMirror and …RequestMultipleMirrors: with the body, and the answer is dropped", async () => {
  const mirror = (name: string) => ({ type: "RequestMirror", requestMirror: { backendRef: to(name)[0] } });
  const world = await openRoutes(cleanup, [
    httpRoute([{ filters: [mirror("v2"), mirror("v3")], backendRefs: to("v1") }]),
  ]);
  const answer = await world.call("POST /orders?x=1", {}, { id: 7 });
  expect(answer.text).toBe("v1");
  for (const app of [world.backends.v2, world.backends.v3]) {
    await eventually(() => expect(app.requests).toHaveLength(1));
    const { method, target, text } = app.requests[0] ?? {};
    expect({ method, target, text }).toEqual({ method: "POST", target: "/orders?x=1", text: '{"id":7}' });
  }
});

test("a mirror that is not there, is slow or has too much to take does not hold up the call", async () => {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const mirror = (ref: object) => ({ type: "RequestMirror", requestMirror: { backendRef: ref } });
  const absent = { kind: "Service", name: "nobody", port: 80 };
  const world = await openRoutes(
    cleanup,
    [httpRoute([{ filters: [mirror(absent), mirror(to("v2")[0] as object)], backendRefs: to("v1") }])],
    async (request) => {
      if (request.header("x-held") === "yes" && world.backends.v2.requests.includes(request)) await held;
      return {};
    },
  );
  for (let i = 0; i < 5; i++) expect((await world.call("POST /", { "x-held": "yes" }, "x")).text).toBe("v1");
  await eventually(() => expect(world.backends.v2.requests).toHaveLength(5));
  letGo();
  const large = "x".repeat((1 << 20) + 1);
  expect((await world.call("POST /large", {}, large)).text).toBe("v1");
  expect((await world.call("POST /small", {}, "x")).text).toBe("v1");
  await eventually(() => expect(world.backends.v2.requests.at(-1)?.target).toBe("/small"));
  expect(world.backends.v2.requests.map(({ target }) => target)).not.toContain("/large");
});

test("HTTPRouteCORS", async () => {
  const cors = {
    type: "CORS",
    cors: {
      allowOrigins: ["https://www.foo.com", "https://*.bar.com"],
      allowMethods: ["GET", "OPTIONS"],
      allowHeaders: ["x-header-1", "x-header-2"],
      exposeHeaders: ["x-header-3"],
      allowCredentials: true,
      maxAge: 3600,
    },
  };
  const world = await openRoutes(
    cleanup,
    [
      httpRoute([
        { matches: [{ path: { value: "/" }, method: "GET" }], filters: [cors], backendRefs: to("v1") },
      ]),
    ],
    () => ({ headers: { "Access-Control-Allow-Origin": "https://the.app" } }),
  );
  const ask = (origin: string) =>
    world.call("OPTIONS /", { Origin: origin, "Access-Control-Request-Method": "GET" });
  const allowed = await ask("https://www.foo.com");
  const lines = (answer: typeof allowed) =>
    ["origin", "methods", "headers", "credentials"].map((name) =>
      answer.header(`access-control-allow-${name}`),
    );
  expect(allowed.status).toBe(204);
  expect(lines(allowed)).toEqual(["https://www.foo.com", "GET, OPTIONS", "x-header-1, x-header-2", "true"]);
  expect(allowed.header("access-control-max-age")).toBe("3600");
  expect(lines(await ask("https://a.bar.com"))[0]).toBe("https://a.bar.com");
  for (const origin of [
    "https://foo.com",
    "https://bar.com",
    "http://a.bar.com",
    "https://a.bar.com.evil.net",
  ]) {
    expect(lines(await ask(origin))).toEqual([undefined, undefined, undefined, undefined]);
  }
  expect(world.backends.v1.requests).toHaveLength(0);
  const real = await world.call("GET /", { Origin: "https://www.foo.com" });
  expect([lines(real)[0], real.header("access-control-expose-headers"), real.text]).toEqual([
    "https://www.foo.com",
    "x-header-3",
    "v1",
  ]);
});
