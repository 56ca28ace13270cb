import { describe, expect, test } from "bun:test";
import { formatProblem, type Problem } from "./problem.ts";
import { readResource } from "./read-resource.ts";
import type { Resource } from "./resource.ts";
import type { GatewayResource, HttpRouteResource } from "./route.ts";
import { parseYamlFile } from "./yaml-document.ts";

function read(
  kind: string,
  spec: string,
  version = "v1",
): { resource: Resource | undefined; problems: string[] } {
  const text = `apiVersion: gateway.networking.k8s.io/${version}\nkind: ${kind}\nmetadata: { name: r, creationTimestamp: "2026-01-02T03:04:05Z" }\nspec: ${spec}\n`;
  const { documents } = parseYamlFile("r.yaml", text, {});
  const problems: Problem[] = [];
  const [document] = documents;
  if (document === undefined) throw new Error("no document");
  const resource = readResource(document, { isStrict: false, problems, onForeign: () => {} });
  return { resource, problems: problems.map(formatProblem) };
}

const parents = "parentRefs: [{ kind: Service, group: '', name: orders, port: 80 }]";

test("an HTTPRoute as Kubernetes has it", () => {
  const { resource, problems } = read(
    "HTTPRoute",
    `{ ${parents}, rules: [{ matches: [{ path: { value: /a } }], backendRefs: [{ name: b, port: 1, weight: 3 }] }, {}] }`,
    "v1beta1",
  );
  expect(problems).toEqual([]);
  const { parents: of, rules } = (resource as HttpRouteResource).spec;
  expect(of[0]).toMatchObject({ kind: "App", name: "orders" });
  expect(rules[0]?.matches[0]?.path).toEqual({ type: "PathPrefix", value: "/a" });
  expect(rules[0]?.backends[0]).toMatchObject({ kind: "App", name: "b", weight: 3 });
  expect(rules[1]?.matches[0]?.path).toEqual({ type: "PathPrefix", value: "/" });
  expect(resource?.createdAtMs).toBe(Date.parse("2026-01-02T03:04:05Z"));
});

describe("refused by name and place", () => {
  const cases: [what: string, rules: string, message: string][] = [
    ["an unknown field", "[{ matchs: [] }]", 'unknown field spec.rules.0.matchs; did you mean "matches"?'],
    ["ExtensionRef", "[{ filters: [{ type: ExtensionRef }] }]", "the filter ExtensionRef is not implemented"],
    ["a filter twice", "[{ filters: [&f { type: CORS, cors: {} }, *f] }]", "one filter of the type CORS"],
    [
      "redirect and rewrite",
      "[{ filters: [{ type: RequestRedirect, requestRedirect: {} }, { type: URLRewrite, urlRewrite: {} }] }]",
      "exclude each other",
    ],
    [
      "a redirect with backends",
      "[{ backendRefs: [{ name: x }], filters: [{ type: RequestRedirect, requestRedirect: {} }] }]",
      "a rule that redirects has no backendRefs",
    ],
    [
      "a redirect of a backend",
      "[{ backendRefs: [{ name: x, filters: [{ type: RequestRedirect, requestRedirect: {} }] }] }]",
      "the filter RequestRedirect is not implemented here",
    ],
    [
      "a prefix replaced where none is matched",
      "[{ matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }] }]",
      "ReplacePrefixMatch needs matches of the type PathPrefix",
    ],
    [
      "a path that is not clean",
      "[{ matches: [{ path: { value: /a/../b } }] }]",
      "value must be a clean path",
    ],
    [
      "a bad expression",
      "[{ matches: [{ path: { type: RegularExpression, value: '(' } }] }]",
      "value is no regular expression",
    ],
    ["a bad code", "[{ retry: { codes: [200] } }]", "codes must be from 400 to 599, got 200"],
    ["idleTimeout", "[{ sessionPersistence: { idleTimeout: 1s } }]", "idleTimeout is not implemented"],
    [
      "a permanent cookie without an end",
      "[{ sessionPersistence: { cookieConfig: { lifetimeType: Permanent } } }]",
      "a Permanent cookie needs an absoluteTimeout",
    ],
    [
      "timeouts that do not add up",
      "[{ timeouts: { request: 1s, backendRequest: 2s } }]",
      "backendRequest must not be longer than request",
    ],
    ["a weight below 0", "[{ backendRefs: [{ name: x, weight: -1 }] }]", "weight must be a number from 0"],
    [
      "percent and fraction",
      "[{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: x }, percent: 1, fraction: { numerator: 1 } } }] }]",
      "percent and fraction exclude each other",
    ],
    [
      "a header of two lines",
      '[{ filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "1\\n2" }] } }] }]',
      "value must be one line",
    ],
  ];
  test.each(cases)("%s", (_, rules, message) => {
    const { resource, problems } = read("HTTPRoute", `{ ${parents}, rules: ${rules} }`);
    expect(resource).toBeUndefined();
    expect(problems.join("\n")).toContain(message);
    expect(problems[0]).toMatch(/^r\.yaml:4:\d+: /);
  });

  test("what a GRPCRoute does not have", () => {
    const grpc = (rule: string) => read("GRPCRoute", `{ ${parents}, rules: [${rule}] }`).problems.join("\n");
    expect(grpc("{ timeouts: { request: 1s } }")).toContain("unknown field spec.rules.0.timeouts");
    expect(grpc("{ sessionPersistence: {} }")).toContain("sessionPersistence is not implemented");
    expect(grpc("{ filters: [{ type: CORS, cors: {} }] }")).toContain(
      "the filter CORS is not implemented here",
    );
    expect(grpc("{ matches: [{ method: {} }] }")).toContain("method needs a service or a method");
  });

  test("another version, another kind of the group, another parent", () => {
    expect(read("HTTPRoute", "{}", "v1alpha2").problems[0]).toContain(
      "must be gateway.networking.k8s.io/v1 or",
    );
    expect(read("TCPRoute", "{}").problems[0]).toContain(
      'kind "TCPRoute" of gateway.networking.k8s.io/v1 is not known',
    );
    const other = read("HTTPRoute", "{ parentRefs: [{ kind: Mesh, name: x }] }");
    expect(other.problems[0]).toContain('kind must be App, Service or Gateway, got "Mesh"');
  });
});

test("a GatewayClass is taken as it is", () => {
  expect(read("GatewayClass", "{ controllerName: example.com/x }").problems).toEqual([]);
});

describe("Gateway", () => {
  const listener = (more: string) =>
    `{ gatewayClassName: mecha, listeners: [{ name: web, port: 80, protocol: HTTP, ${more} }] }`;

  test("listeners with their defaults", () => {
    const { resource } = read("Gateway", listener("hostname: '*.Example.com'"));
    expect((resource as GatewayResource).spec.listeners).toEqual([
      {
        name: "web",
        hostname: "*.example.com",
        port: 80,
        protocol: "HTTP",
        tls: undefined,
        routesFrom: "Same",
        routeKinds: [],
      },
    ]);
  });

  test.each([
    ["tls: { certificateRefs: [{ name: c }] }", "an HTTP listener has no tls"],
    ["}, { name: b, port: 9, protocol: TCP", "must be one of HTTP, HTTPS"],
    ["allowedRoutes: { namespaces: { from: Selector } }", "must be one of Same, All"],
    ["}, { name: web, port: 81, protocol: HTTP", "two listeners have the name web"],
    ["}, { name: b, port: 80, protocol: HTTP", "listener b has the port and hostname of web"],
    ["}, { name: b, port: 443, protocol: HTTPS", "an HTTPS listener needs tls"],
    [
      "}, { name: b, port: 443, protocol: HTTPS, tls: { mode: Passthrough, certificateRefs: [{ name: c }] }",
      "must be one of Terminate",
    ],
  ])("refuses %s", (more, message) => {
    expect(read("Gateway", listener(more)).problems.join("\n")).toContain(message);
  });
});
