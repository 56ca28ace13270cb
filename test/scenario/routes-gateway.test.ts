import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import grpc from "@grpc/grpc-js";
import { createHttpClient } from "../../src/net/http1/index.ts";
import type { HttpTls } from "../../src/net/http1/types.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort } from "../mecha-process.ts";
import { type Authority, createAuthority } from "./tls-fixture.ts";

// Gateways: requests from outside, by hostnames and ports, over HTTP and HTTPS.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const client = createHttpClient();

interface World {
  mecha: TestMecha;
  folder: string;
  backends: Record<"v1" | "v2", FakeApp>;
  write(...documents: string[]): void;
}

async function open(...documents: string[]): Promise<World> {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const write = (...texts: string[]): void => writeFileSync(join(folder, "all.yaml"), texts.join("\n---\n"));
  write(...documents);
  const start = async (name: string): Promise<FakeApp> => {
    const app = await fakeApp({ otherwise: () => ({ body: name }) });
    cleanup.add(() => app.close());
    return app;
  };
  const backends = { v1: await start("v1"), v2: await start("v2") };
  const apps = Object.entries(backends).map(([name, app]) => ({ appId: `infra-${name}`, app }));
  const ingress = { appId: "ingress", options: { resourcesPaths: [folder] } };
  const mecha = await startMecha({ apps: [ingress, ...apps] });
  cleanup.add(() => mecha.stop());
  return { mecha, folder, backends, write };
}

const gateway = (listeners: object[], more = "") => `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: front }
${more}
spec: ${JSON.stringify({ gatewayClassName: "mecha", addresses: [{ value: "127.0.0.1" }], listeners })}`;

const http = (port: number, more: object = {}) => ({ name: "web", protocol: "HTTP", port, ...more });

function route(name: string, backend: string, more: object = {}, parent: object = {}): string {
  const rules = [{ backendRefs: [{ name: `infra-${backend}`, port: 80 }], ...more }];
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec: ${JSON.stringify({ parentRefs: [{ name: "front", ...parent }], hostnames: (more as { hostnames?: string[] }).hostnames, rules: rules.map(({ hostnames: _, ...rule }: Record<string, unknown>) => rule) })}`;
}

async function get(port: number, target: string, headers: Record<string, string> = {}, tls?: HttpTls) {
  const address = { host: "127.0.0.1", port, tls };
  const answer = await client.request(address, {
    method: "GET",
    target,
    headers: Object.entries(headers).flat(),
  });
  const text = Buffer.from(await answer.body.bytes(1 << 20)).toString();
  return { status: answer.status, text, header: (name: string) => answer.header(name) };
}

/** The status, or who answered. */
async function answerer(port: number, Host: string, target = "/"): Promise<string | number> {
  const { status, text } = await get(port, target, { Host });
  return status === 200 ? text : status;
}

test("HTTPRouteHostnameIntersection, HTTPRouteListenerHostnameMatching", async () => {
  const port = await freePort();
  await open(
    gateway([http(port, { hostname: "*.example.com" })]),
    route("any", "v1"),
    route("one", "v2", { hostnames: ["very.specific.example.com", "other.org"] }),
    route("some", "v2", { hostnames: ["*.sub.example.com"] }),
  );
  const got: unknown[] = [];
  for (const host of [
    "a.example.com",
    "very.specific.example.com",
    "x.y.sub.example.com:80",
    "other.org",
    "example.com",
  ])
    got.push([host, await answerer(port, host)]);
  expect(got).toEqual([
    ["a.example.com", "v1"],
    ["very.specific.example.com", "v2"],
    ["x.y.sub.example.com:80", "v2"],
    ["other.org", 404],
    ["example.com", 404],
  ]);
});

test("HTTPRouteExactPathMatching with a slash, and a parent's section and port", async () => {
  const [one, two] = [await freePort(), await freePort()];
  const exact = (value: string) => ({ matches: [{ path: { type: "Exact", value } }] });
  await open(
    gateway([http(one), { ...http(two), name: "second" }]),
    route("slash", "v1", exact("/two/"), { sectionName: "web" }),
    route("plain", "v2", exact("/two"), { port: one }),
    route("second", "v2", {}, { sectionName: "second" }),
  );
  expect(await answerer(one, "a", "/two/")).toBe("v1");
  expect(await answerer(one, "a", "/two")).toBe("v2");
  expect(await answerer(one, "a", "/x/../two")).toBe("v2");
  expect(await answerer(one, "a", "/")).toBe(404);
  expect(await answerer(two, "a", "/")).toBe("v2");
});

test("what a client says of its way is not believed", async () => {
  const port = await freePort();
  const { backends } = await open(gateway([http(port)]), route("all", "v1"));
  await get(port, "/x?y=1", {
    ...{
      Host: "shop.example",
      "X-Forwarded-For": "6.6.6.6",
      "X-Forwarded-Proto": "https",
      Forwarded: "for=6.6.6.6",
    },
    ...{ "dapr-caller-app-id": "root", "mecha-peer-host": "evil", "X-Keep": "1" },
  });
  const [request] = backends.v1.requests;
  const seen = (name: string) => request?.header(name);
  expect(request?.target).toBe("/x?y=1");
  expect(
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-keep"].map(
      seen,
    ),
  ).toEqual(["shop.example", "127.0.0.1", "shop.example", "http", String(port), "1"]);
  expect(seen("forwarded")).toBe('for=127.0.0.1;host="shop.example";proto=http');
  expect(seen("dapr-caller-app-id")).toBe("ingress");
});

test("redirects know the listener", async () => {
  const port = await freePort();
  const filters = [{ type: "RequestRedirect", requestRedirect: { scheme: "https", statusCode: 301 } }];
  await open(gateway([http(port)]), route("https", "v1", { filters, backendRefs: undefined }));
  const { status, header } = await get(port, "/a?b", { Host: `example.com:${port}` });
  expect([status, header("location")]).toEqual([301, "https://example.com/a?b"]);
});

test("HTTPRouteCORS for a page in a browser", async () => {
  const port = await freePort();
  const filters = [{ type: "CORS", cors: { allowOrigins: ["https://page.example"], allowMethods: ["PUT"] } }];
  await open(gateway([http(port)]), route("cors", "v1", { filters }));
  const answer = await get(port, "/", { Origin: "https://page.example" });
  expect([answer.text, answer.header("access-control-allow-origin")]).toEqual(["v1", "https://page.example"]);
});

test("listeners open and close with the file, and routes change under a running load", async () => {
  const [one, two] = [await freePort(), await freePort()];
  const { write, mecha } = await open(gateway([http(one)]), route("all", "v1"));
  const failures: unknown[] = [];
  let isStopped = false;
  const load = (async () => {
    while (!isStopped) {
      const answer = await answerer(one, "a").catch(String);
      if (answer !== "v1" && answer !== "v2") failures.push(answer);
    }
  })();
  write(gateway([http(one), { ...http(two), name: "second" }]), route("all", "v2"));
  await eventually(async () => expect(await answerer(two, "a")).toBe("v2"));
  await eventually(async () => expect(await answerer(one, "a")).toBe("v2"));
  write(gateway([http(one)]), route("all", "v2"));
  await eventually(async () => expect(await answerer(two, "a").catch(() => "closed")).toBe("closed"));
  isStopped = true;
  await load;
  expect(failures).toEqual([]);
  expect(mecha.log()).toContain(`gateway front listens on port ${one} (HTTP)`);
});

test("a port that is taken is waited for", async () => {
  const port = await freePort();
  const first = await open(gateway([http(port)]), route("all", "v1"));
  const second = await open(gateway([http(port)]), route("all", "v2"));
  expect(second.mecha.log()).toContain("it is tried again");
  expect(await answerer(port, "a")).toBe("v1");
  first.write();
  await eventually(async () => expect(await answerer(port, "a").catch(() => "closed")).toBe("v2"));
});

describe("HTTPS", () => {
  let authority: Authority;
  let other: Authority;
  beforeAll(() => {
    authority = createAuthority("gateway CA");
    other = createAuthority("another CA");
  });

  const files = { options: { "mecha.run/tls-cert-file": "tls.crt", "mecha.run/tls-key-file": "tls.key" } };
  const https = (port: number, tls: object) => ({ name: "tls", protocol: "HTTPS", port, tls });
  const save = (folder: string, { leaf }: Authority): void => {
    writeFileSync(join(folder, "tls.crt"), leaf.cert);
    writeFileSync(join(folder, "tls.key"), leaf.key);
  };
  const trusting = ({ ca }: Authority): HttpTls => ({ ca, serverName: "localhost" });

  test("with files, that may change while it listens", async () => {
    const port = await freePort();
    const world = await open();
    save(world.folder, authority);
    world.write(gateway([https(port, files)]), route("all", "v1"));
    const ask = (by: Authority) => get(port, "/", { Host: "shop" }, trusting(by));
    await eventually(async () => expect((await ask(authority)).text).toBe("v1"));
    expect(world.backends.v1.requests[0]?.header("x-forwarded-proto")).toBe("https");
    expect(
      await ask(other).then(
        () => "trusted",
        () => "refused",
      ),
    ).toBe("refused");
    save(world.folder, other);
    await eventually(() => expect(world.mecha.log()).toContain("gateway front has new certificates"));
    expect((await ask(other)).text).toBe("v1");
    writeFileSync(join(world.folder, "tls.key"), "no key");
    await eventually(() => expect(world.mecha.log()).toContain("the certificates from before stay"));
    expect((await get(port, "/", { Host: "b" }, trusting(other))).text).toBe("v1");
  });

  test("with a secret, and HTTP/2 by ALPN", async () => {
    const port = await freePort();
    const folder = cleanup.folder();
    const secrets = join(folder, "secrets.json");
    const { cert, key } = authority.leaf;
    writeFileSync(secrets, JSON.stringify({ front: { "tls.crt": cert, "tls.key": key } }));
    const store = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: vault }
spec:
  type: secretstores.local.file
  version: v1
  metadata:
    - { name: secretsFile, value: ${secrets} }
    - { name: multiValued, value: "true" }`;
    const tls = { certificateRefs: [{ name: "front" }] };
    await open(store, gateway([https(port, tls)], "auth: { secretStore: vault }"), route("all", "v2"));
    expect((await get(port, "/", { Host: "a" }, trusting(authority))).text).toBe("v2");
    const socket = connectTls({
      port,
      host: "127.0.0.1",
      ca: authority.ca,
      servername: "localhost",
      ALPNProtocols: ["h2"],
    });
    await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
    expect(socket.alpnProtocol).toBe("h2");
    socket.destroy();
  });
});

test("GRPCRoute of a gateway", async () => {
  const raw = (bytes: Buffer): Buffer => bytes;
  const path = "/shop.v1.Echo/Echo";
  const method = { path, requestStream: false, responseStream: false };
  const coding = {
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  };
  const server = new grpc.Server();
  const echo: grpc.handleUnaryCall<Buffer, Buffer> = (call, reply) => reply(null, call.request);
  server.addService({ echo: { ...method, ...coding } }, { echo });
  const app = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  const port = await freePort();
  const rules = [
    { matches: [{ method: { service: "shop.v1.Echo" } }], backendRefs: [{ name: "infra", port: 1 }] },
  ];
  const spec = JSON.stringify({ parentRefs: [{ name: "front" }], hostnames: ["localhost"], rules });
  const grpcRoute = `apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: g }\nspec: ${spec}`;
  writeFileSync(join(folder, "all.yaml"), `${gateway([http(port)])}\n---\n${grpcRoute}`);
  const mecha = await startMecha({
    apps: [
      { appId: "ingress", options: { resourcesPaths: [folder] } },
      { appId: "infra", app, options: { appProtocol: "grpc" } },
    ],
  });
  const caller = new grpc.Client(`localhost:${port}`, grpc.credentials.createInsecure());
  cleanup.add(async () => {
    caller.close();
    await mecha.stop();
    server.forceShutdown();
  });
  const call = (at: string): Promise<string> =>
    new Promise((resolve) => {
      caller.makeUnaryRequest(at, raw, raw, Buffer.from("hi"), (error, answer) =>
        resolve(error ? (grpc.status[error.code] ?? "") : String(answer)),
      );
    });
  expect(await call(path)).toBe("hi");
  expect(await call("/shop.v1.Other/Echo")).toBe("UNIMPLEMENTED");
});
