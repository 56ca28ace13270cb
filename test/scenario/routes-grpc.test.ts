import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { startMecha, type TestMecha } from "../../src/testing/index.ts";
import { Cleanup, eventually } from "../mecha-process.ts";

// GRPCRoute round proxied calls, by grpc-js on both sides: the core of Gateway API's conformance, retold.

const raw = (bytes: Buffer): Buffer => bytes;
const method = (path: string, isStream = false) => ({
  ...{ path, requestStream: isStream, responseStream: isStream },
  ...{ requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw },
});
const service = {
  echo: method("/shop.v1.Echo/Echo"),
  twice: method("/shop.v1.Echo/Twice"),
  chat: method("/shop.v1.Echo/Chat", true),
};
const other = { echo: method("/shop.v1.Other/Echo") };

interface Seen {
  backend: string;
  path: string;
  metadata: grpc.Metadata;
  text: string;
}

const cleanup = new Cleanup();
const seen: Seen[] = [];
let mecha: TestMecha;
let client: grpc.Client;
let file: string;

async function backend(name: string): Promise<number> {
  const server = new grpc.Server();
  const unary =
    (path: string): grpc.handleUnaryCall<Buffer, Buffer> =>
    (call, reply) => {
      seen.push({ backend: name, path, metadata: call.metadata, text: call.request.toString() });
      const head = new grpc.Metadata();
      head.set("x-drop", "gone");
      head.set("x-serial", "1");
      call.sendMetadata(head);
      reply(null, Buffer.from(name));
    };
  server.addService(service, {
    echo: unary("Echo"),
    twice: unary("Twice"),
    chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (bytes: Buffer) => {
        seen.push({ backend: name, path: "Chat", metadata: call.metadata, text: bytes.toString() });
        call.write(Buffer.from(`${name}:${bytes}`));
      });
      call.on("end", () => call.end());
    },
  });
  server.addService(other, { echo: unary("Other") });
  cleanup.add(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
}

beforeAll(async () => {
  const folder = join(cleanup.folder(), "resources");
  mkdirSync(folder);
  file = join(folder, "route.yaml");
  write([]);
  const options = { appProtocol: "grpc" as const };
  const apps = await Promise.all(
    ["v1", "v2"].map(async (name) => ({ appId: `infra-${name}`, app: await backend(name), options })),
  );
  mecha = await startMecha({ apps: [{ appId: "caller", options: { resourcesPaths: [folder] } }, ...apps] });
  const { grpc: port } = mecha.ports("caller");
  client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await mecha.stop();
  await cleanup.run();
});

function write(rules: object[]): void {
  writeFileSync(
    file,
    `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: infra }
spec: { parentRefs: [{ kind: Service, group: "", name: infra }], rules: ${JSON.stringify(rules)} }`,
  );
}

const to = (name: string, more = {}) => [{ kind: "Service", name: `infra-${name}`, port: 80, ...more }];

function metadataOf(fields: Record<string, string>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries({ "dapr-app-id": "infra", ...fields }))
    metadata.set(name, value);
  return metadata;
}

/** The backend that answered and the head of its answer, or the status. */
function call(
  { path }: { path: string },
  fields: Record<string, string> = {},
): Promise<{ backend: string; head?: grpc.Metadata }> {
  return new Promise((resolve) => {
    let head: grpc.Metadata | undefined;
    const started = client.makeUnaryRequest(
      path,
      raw,
      raw,
      Buffer.from("hi"),
      metadataOf(fields),
      (error, answer) =>
        resolve({ backend: error ? (grpc.status[error.code] ?? "") : String(answer), ...(head && { head }) }),
    );
    started.on("metadata", (got) => {
      head = got;
    });
  });
}

test("GRPCExactMethodMatching, GRPCRouteHeaderMatching: by service, method and metadata", async () => {
  const exact = (of: object) => [{ method: { type: "Exact", ...of } }];
  write([
    { matches: exact({ service: "shop.v1.Echo" }), backendRefs: to("v1") },
    { matches: exact({ service: "shop.v1.Echo", method: "Twice" }), backendRefs: to("v2") },
    {
      matches: [{ method: { service: "shop.v1.Echo" }, headers: [{ name: "color", value: "blue" }] }],
      backendRefs: to("v2"),
    },
  ]);
  await eventually(async () => expect((await call(service.echo)).backend).toBe("v1"));
  expect((await call(service.twice)).backend).toBe("v2");
  expect((await call(service.echo, { color: "blue" })).backend).toBe("v2");
  expect((await call(other.echo)).backend).toBe("UNIMPLEMENTED");
});

test("regular expressions, and no backend", async () => {
  const regex = { type: "RegularExpression", service: "shop\\..*", method: "E.*" };
  write([
    { matches: [{ method: regex }], backendRefs: to("v2") },
    { matches: [{ method: { method: "Twice" } }], backendRefs: to("v1", { weight: 0 }) },
    { matches: [{ method: { method: "Chat" } }], backendRefs: to("nobody") },
  ]);
  await eventually(async () => expect((await call(other.echo)).backend).toBe("v2"));
  expect((await call(service.twice)).backend).toBe("UNAVAILABLE");
  expect((await call(service.chat)).backend).toBe("UNAVAILABLE");
});

test("header filters of request and answer, and a mirror that sees the same", async () => {
  const requestHeaderModifier = { set: [{ name: "X-Set", value: "new" }], remove: ["x-gone"] };
  const responseHeaderModifier = { add: [{ name: "x-serial", value: "2" }], remove: ["x-drop"] };
  write([
    {
      filters: [
        { type: "RequestHeaderModifier", requestHeaderModifier },
        { type: "ResponseHeaderModifier", responseHeaderModifier },
        { type: "RequestMirror", requestMirror: { backendRef: to("v2")[0] } },
      ],
      backendRefs: to("v1"),
    },
  ]);
  await eventually(async () => expect((await call(service.echo)).head?.get("x-serial")).toEqual(["1,2"]));
  seen.length = 0;
  const { backend: answered, head } = await call(service.echo, { "x-set": "old", "x-gone": "1" });
  expect([answered, head?.get("x-drop")]).toEqual(["v1", []]);
  await eventually(() => expect(seen).toHaveLength(2));
  expect(seen.map(({ backend: name, text }) => `${name} ${text}`).sort()).toEqual(["v1 hi", "v2 hi"]);
  for (const { metadata } of seen)
    expect([metadata.get("x-set"), metadata.get("x-gone")]).toEqual([["new"], []]);
});

test("a stream is mirrored message by message", async () => {
  seen.length = 0;
  const stream = client.makeBidiStreamRequest(service.chat.path, raw, raw, metadataOf({}));
  const answers: string[] = [];
  stream.on("data", (bytes: Buffer) => answers.push(bytes.toString()));
  const ended = new Promise((resolve) => stream.once("end", resolve));
  stream.write(Buffer.from("a"));
  await eventually(() => expect(answers).toEqual(["v1:a"]));
  stream.write(Buffer.from("b"));
  stream.end();
  await ended;
  expect(answers).toEqual(["v1:a", "v1:b"]);
  await eventually(() => {
    expect(seen.filter(({ backend: name }) => name === "v2").map(({ text }) => text)).toEqual(["a", "b"]);
  });
});
