import { afterEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { fakeApp, startMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { createAuthority } from "./tls-fixture.ts";

// ReferenceGrant: what routes and Gateways of one namespace may refer to in another.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A runtime of the namespace `infra` whose route goes to `web` of the namespace `web`. */
async function open(...documents: object[]) {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (...all: object[]): void =>
    writeFileSync(join(folder, "all.yaml"), all.map((one) => JSON.stringify(one)).join("\n---\n"));
  write(...documents);
  const start = async (name: string) => {
    const app = await fakeApp({ otherwise: () => ({ body: name }) });
    cleanup.add(() => app.close());
    return app;
  };
  const [web, near] = [await start("web"), await start("near")];
  const mecha = await startMecha({
    apps: [
      { appId: "caller", options: { namespace: "infra", resourcesPaths: [folder] } },
      { appId: "near", app: near, options: { namespace: "infra" } },
      { appId: "web", app: web, options: { namespace: "web" } },
    ],
  });
  cleanup.add(() => mecha.stop());
  const call = async (path: string): Promise<string> => {
    const { status, text } = await mecha.http("caller", `GET /v1.0/invoke/shop/method${path}`);
    return status === 200 ? text : `${status} ${text}`;
  };
  const conditions = async (): Promise<{ name: string; reason: string; message: string }[]> => {
    const { mecha: own } = (await mecha.http("caller", "GET /v1.0/metadata")).json() as {
      mecha?: { conditions?: [] };
    };
    return own?.conditions ?? [];
  };
  return { mecha, call, conditions, write, web, near };
}

const gatewayGroup = "gateway.networking.k8s.io";
const toWeb = { kind: "Service", name: "web", namespace: "web", port: 8080 };
const toNear = { kind: "Service", name: "near", port: 8080 };

function route(...rules: object[]): object {
  const parentRefs = [{ kind: "App", group: "mecha.run", name: "shop" }];
  return {
    apiVersion: `${gatewayGroup}/v1`,
    kind: "HTTPRoute",
    metadata: { name: "r", namespace: "infra" },
    spec: { parentRefs, rules },
  };
}

interface Grant {
  from?: object;
  to?: object;
  namespace?: string;
}

function grant({ from = {}, to = {}, namespace = "web" }: Grant = {}): object {
  return {
    apiVersion: `${gatewayGroup}/v1beta1`,
    kind: "ReferenceGrant",
    metadata: { name: `g${JSON.stringify([from, to, namespace]).length}`, namespace },
    spec: {
      from: [{ group: gatewayGroup, kind: "HTTPRoute", namespace: "infra", ...from }],
      to: [{ group: "", kind: "Service", name: "web", ...to }],
    },
  };
}

const refused = "RefNotPermitted: no ReferenceGrant of web allows App web";

test("HTTPRouteReferenceGrant: allowed with a grant, refused when it is taken back", async () => {
  const { call, conditions, write, mecha } = await open(route({ backendRefs: [toWeb] }), grant());
  expect(await call("/")).toBe("web");
  expect(await conditions()).toEqual([]);
  write(route({ backendRefs: [toWeb] }));
  await eventually(async () => expect(await call("/")).toStartWith("500 "));
  expect(await call("/")).toContain(refused);
  expect(await conditions()).toMatchObject([
    { kind: "HTTPRoute", name: "r", namespace: "infra", type: "ResolvedRefs", reason: "RefNotPermitted" },
  ]);
  expect(mecha.log()).toContain(`HTTPRoute r: ${refused}`);
  write(route({ backendRefs: [toWeb] }), grant({ to: { name: undefined } }));
  await eventually(async () => expect(await call("/")).toBe("web"));
});

test("HTTPRouteInvalidReferenceGrant, HTTPRouteInvalidCrossNamespaceBackendRef: other grants do not count", async () => {
  const { call, web } = await open(
    route({ backendRefs: [toWeb] }),
    grant({ from: { group: "not-the-group-you-are-looking-for" } }),
    grant({ from: { kind: "GRPCRoute" } }),
    grant({ from: { namespace: "not-the-namespace" } }),
    grant({ to: { group: "mecha.run" } }),
    grant({ to: { kind: "Secret" } }),
    grant({ to: { name: "not-the-service-you-are-looking-for" } }),
    grant({ namespace: "infra" }),
  );
  expect(await call("/")).toContain(refused);
  expect(web.requests.filter(({ target }) => target === "/")).toEqual([]);
});

test("HTTPRoutePartiallyInvalidViaInvalidReferenceGrant: the other rules go on", async () => {
  const { call, web } = await open(
    route(
      { matches: [{ path: { type: "PathPrefix", value: "/v2" } }], backendRefs: [toWeb] },
      {
        filters: [{ type: "RequestMirror", requestMirror: { backendRef: toWeb } }],
        backendRefs: [toNear],
      },
    ),
    grant({ to: { name: "other" } }),
  );
  expect(await call("/v2")).toStartWith("500 ");
  expect(await call("/")).toBe("near");
  expect(web.requests.filter(({ target }) => !target.startsWith("/dapr"))).toEqual([]);
});

function vault(secretsFile: string): object {
  return {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Component",
    metadata: { name: "vault" },
    spec: {
      type: "secretstores.local.file",
      version: "v1",
      metadata: [
        { name: "secretsFile", value: secretsFile },
        { name: "multiValued", value: "true" },
      ],
    },
  };
}

test("GatewaySecretReferenceGrant…: a listener needs a grant for a certificate of another namespace", async () => {
  const authority = createAuthority("gateway CA");
  const { cert, key } = authority.leaf;
  const secretsFile = join(cleanup.folder(), "secrets.json");
  writeFileSync(secretsFile, JSON.stringify({ front: { "tls.crt": cert, "tls.key": key } }));
  const [port, plain] = [await freePort(), await freePort()];
  const store = vault(secretsFile);
  const tls = { certificateRefs: [{ name: "front", namespace: "certs" }] };
  const gateway = {
    apiVersion: `${gatewayGroup}/v1`,
    kind: "Gateway",
    metadata: { name: "front", namespace: "infra" },
    auth: { secretStore: "vault" },
    spec: {
      gatewayClassName: "mecha",
      addresses: [{ value: "127.0.0.1" }],
      listeners: [
        { name: "secure", protocol: "HTTPS", port, tls },
        { name: "plain", protocol: "HTTP", port: plain },
      ],
    },
  };
  const parentRefs = [{ name: "front" }];
  const all = { ...route(), spec: { parentRefs, rules: [{ backendRefs: [toNear] }] } };
  const ofGateway = { kind: "Gateway" };
  const toSecret = (name?: string) => ({ kind: "Secret", name });
  const client = createHttpClient();
  cleanup.add(() => client.close());
  const ask = async (at: number, isTls: boolean): Promise<string> => {
    const secure = isTls ? { ca: authority.ca, serverName: "localhost" } : undefined;
    const address = { host: "127.0.0.1", port: at, tls: secure };
    try {
      const answer = await client.request(address, { method: "GET", target: "/", headers: ["Host", "a"] });
      return Buffer.from(await answer.body.bytes(1000)).toString();
    } catch {
      return "closed";
    }
  };
  const wrong = [
    grant({ namespace: "certs", from: ofGateway, to: toSecret("another") }),
    grant({ namespace: "certs", to: toSecret() }),
    grant({ namespace: "web", from: ofGateway, to: toSecret() }),
  ];
  // GatewaySecretMissingReferenceGrant, GatewaySecretInvalidReferenceGrant
  const { write, conditions, mecha } = await open(store, gateway, all, ...wrong);
  expect(await ask(port, true)).toBe("closed");
  expect(await ask(plain, false)).toBe("near");
  const message = "RefNotPermitted: no ReferenceGrant of certs allows Secret front";
  expect(await conditions()).toMatchObject([{ kind: "Gateway", name: "front", message }]);
  expect(mecha.log()).toContain(message);
  for (const name of ["front", undefined]) {
    // GatewaySecretReferenceGrantSpecific, GatewaySecretReferenceGrantAllInNamespace
    write(store, gateway, all, grant({ namespace: "certs", from: ofGateway, to: toSecret(name) }));
    await eventually(async () => expect(await ask(port, true)).toBe("near"));
    expect(await conditions()).toEqual([]);
    write(store, gateway, all, ...wrong);
    await eventually(async () => expect(await ask(port, true)).toBe("closed"));
  }
}, 30_000);
