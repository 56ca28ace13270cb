import { expect, test } from "bun:test";
import { checkResources } from "./load.ts";
import { isGrantFor, ReferenceGrants, refsNotPermitted } from "./reference-grant.ts";
import type { Resource } from "./resource.ts";

const warnings: string[] = [];
const nothing = () => undefined;
const log = {
  ...{ debug: nothing, info: nothing, error: nothing, fatal: nothing },
  warn: (_fields: object, text: string) => void warnings.push(text),
  scope: () => log,
};

async function read(...documents: string[]): Promise<Resource[]> {
  warnings.length = 0;
  const head = "apiVersion: gateway.networking.k8s.io/v1beta1\n";
  const text = documents.map((document) => head + document).join("\n---\n");
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  const { others } = await checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
  return others;
}

const grant = (from: string, to: string, namespace = "web") => `kind: ReferenceGrant
metadata: { name: g, namespace: ${namespace} }
spec: { from: [${from}], to: [${to}] }`;

const routes = "{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }";
const service = '{ group: "", kind: Service, name: orders }';
const toOrders = { kind: "App", name: "orders", namespace: "web" } as const;
const fromShop = { kind: "HTTPRoute", namespace: "shop" } as const;

test.each([
  [routes, service, "web", true],
  [routes, '{ group: "", kind: Service }', "web", true],
  [routes, "{ group: mecha.run, kind: App, name: orders }", "web", true],
  [routes, service, "shop", false],
  [routes, service, "other", false],
  [routes, '{ group: "", kind: Service, name: other }', "web", false],
  [routes, '{ group: "", kind: Secret }', "web", false],
  [routes, "{ group: mecha.run, kind: Service }", "web", false],
  [routes, "{ group: mecha.run, kind: AppVersion, name: orders }", "web", false],
  ["{ group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: shop }", service, "web", false],
  ["{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: else }", service, "web", false],
  ['{ group: "", kind: HTTPRoute, namespace: shop }', service, "web", false],
  ["{ group: gateway.networking.k8s.io, kind: Gateway, namespace: shop }", service, "web", false],
])(
  "a grant from %s to %s in %s lets a route of shop use orders of web: %p",
  async (from, to, home, expected) => {
    const grants = new ReferenceGrants(await read(grant(from, to, home)), "default");
    expect(grants.isPermitted({ from: fromShop, to: toOrders })).toBe(expected);
  },
);

test("nothing has to be granted within a namespace, and a grant without one is of the own", async () => {
  const none = new ReferenceGrants([], "default");
  expect(none.isPermitted({ from: fromShop, to: { ...toOrders, namespace: "shop" } })).toBe(true);
  const text = grant(routes, service).replace(", namespace: web", "");
  const [one] = await read(text);
  expect(new ReferenceGrants([one as Resource], "web").isPermitted({ from: fromShop, to: toOrders })).toBe(
    true,
  );
  expect(isGrantFor(one as Resource, "shop")).toBe(true);
  expect(isGrantFor(one as Resource, "web")).toBe(false);
});

test("what is not granted is named with its place: backends, mirrors, certificates", async () => {
  const resources = await read(
    `kind: HTTPRoute
metadata: { name: r }
spec:
  rules:
  - filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copy, namespace: web } } }]
    backendRefs: [{ name: here }, { name: orders, namespace: web }]`,
    `kind: Gateway
metadata: { name: front }
spec:
  listeners:
  - { name: a, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: cert, namespace: certs }] } }`,
  );
  expect(refsNotPermitted(resources, "shop").map(({ path, message }) => [path.join("."), message])).toEqual([
    ["spec.rules.0.backendRefs.1", "RefNotPermitted: no ReferenceGrant of web allows App orders"],
    [
      "spec.rules.0.filters.0.requestMirror.backendRef",
      "RefNotPermitted: no ReferenceGrant of web allows App copy",
    ],
    [
      "spec.listeners.0.tls.certificateRefs.0",
      "RefNotPermitted: no ReferenceGrant of certs allows Secret cert",
    ],
  ]);
});

test("a grant that means nothing here is warned about, an empty one is refused", async () => {
  await read(
    grant("{ group: gateway.networking.k8s.io, kind: TLSRoute, namespace: a }", "{ kind: ConfigMap }"),
  );
  expect(warnings.join("\n")).toContain("gateway.networking.k8s.io/TLSRoute refers to nothing here");
  expect(warnings.join("\n")).toContain("nothing refers to ConfigMap");
  const empty = await read(grant("", "{ kind: Service }")).catch((error: Error) => error.message);
  expect(empty).toContain("spec.from is missing");
});
