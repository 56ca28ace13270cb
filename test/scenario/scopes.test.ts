import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import grpc from "@grpc/grpc-js";
import { fakeApp, startMecha, type TestApp, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

// What an app may use, as its operators write it: APIs, secrets, components and topics, over HTTP and gRPC alike.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mecha-scopes-"));
  closers.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function start(apps: TestApp[], resources?: string): Promise<TestMecha> {
  const mecha = await startMecha({ apps, ...(resources !== undefined && { resources }) });
  closers.push(() => mecha.stop());
  return mecha;
}

/** A Configuration file with this spec. */
function configOf(spec: object, file = join(folder(), "config.yaml")): string {
  const named = { apiVersion: "dapr.io/v1alpha1", kind: "Configuration", metadata: { name: "scoped" } };
  writeFileSync(file, JSON.stringify({ ...named, spec }));
  return file;
}

/** A unary call by grpc-js: the answer, or the name of the status. */
function callOf(mecha: TestMecha, appId: string) {
  const client = new grpc.Client(`127.0.0.1:${mecha.ports(appId).grpc}`, grpc.credentials.createInsecure());
  closers.push(() => client.close());
  return <M extends DescMethod>(
    method: M,
    request: MessageInitShape<M["input"]>,
  ): Promise<MessageShape<M["output"]> | string> =>
    new Promise((resolve) =>
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (value: Uint8Array) => Buffer.from(value),
        (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
        toBinary(method.input, create(method.input, request)),
        (error, answer) =>
          resolve(error === null && answer ? answer : (grpc.status[error?.code ?? 2] as string)),
      ),
    );
}

const component = (name: string, type: string, metadata: Record<string, string>, scopes = "") => `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
${scopes}
spec:
  type: ${type}
  version: v1
  metadata: ${JSON.stringify(Object.entries(metadata).map(([key, value]) => ({ name: key, value })))}
---`;

test("API lists leave in what they say, each protocol for itself, and follow their file", async () => {
  const denied = [{ name: "state", version: "v1", protocol: "http" }];
  const file = configOf({ api: { denied } });
  const mecha = await start([{ appId: "a", options: { configPaths: [file] } }]);
  const call = callOf(mecha, "a");
  const http = async (line: string) => (await mecha.http("a", line)).status;
  const state = "GET /v1.0/state/statestore/k";
  expect((await mecha.http("a", state)).json()).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
  expect(await http("GET /v1.0/metadata")).toBe(200);
  expect(await call(Dapr.method.getState, { storeName: "statestore", key: "k" })).toMatchObject({ etag: "" });
  const allowed = [
    { name: "state", version: "v1.0", protocol: "http" },
    { name: "metadata", version: "v1.0", protocol: "grpc" },
  ];
  configOf({ api: { allowed } }, file);
  await until(async () => (await http(state)) === 204, "the new list");
  expect(await http("GET /v1.0/metadata")).toBe(404);
  expect(await http("GET /v1.0/healthz")).toBe(204);
  expect(await call(Dapr.method.getState, { storeName: "statestore", key: "k" })).toBe("UNIMPLEMENTED");
  expect(await call(Dapr.method.getMetadata, {})).toMatchObject({ id: "a" });
});

test("secret scopes hold for one secret and for all of them, allowed, denied and by default", async () => {
  const file = join(folder(), "secrets.json");
  writeFileSync(file, JSON.stringify({ db: "d-value", root: "r-value" }));
  const store = (name: string) => component(name, "secretstores.local.file", { secretsFile: file });
  const scopes = [
    { storeName: "deny", defaultAccess: "deny", allowedSecrets: ["db"] },
    { storeName: "allow", defaultAccess: "allow", deniedSecrets: ["root"] },
    { storeName: "both", allowedSecrets: ["db", "root"], deniedSecrets: ["root"] },
    { storeName: "closed", defaultAccess: "deny" },
  ];
  const names = [...scopes.map(({ storeName }) => storeName), "open"];
  const options = { configPaths: [configOf({ secrets: { scopes } })] };
  const mecha = await start([{ appId: "a", options }], names.map(store).join(""));
  const call = callOf(mecha, "a");
  const seen: Record<string, string[]> = {};
  for (const storeName of names) {
    const http = await mecha.http("a", `GET /v1.0/secrets/${storeName}/bulk`);
    const bulk = await call(Dapr.method.getBulkSecret, { storeName });
    seen[storeName] = Object.keys(http.json() as object);
    expect(typeof bulk === "string" ? bulk : Object.keys(bulk.data)).toEqual(seen[storeName] as string[]);
    for (const key of ["db", "root"]) {
      const isSeen = seen[storeName]?.includes(key) === true;
      const one = await mecha.http("a", `GET /v1.0/secrets/${storeName}/${key}`);
      expect([storeName, key, one.status]).toEqual([storeName, key, isSeen ? 200 : 403]);
      if (!isSeen) expect(one.text).not.toContain("value");
      const rpc = await call(Dapr.method.getSecret, { storeName, key });
      expect(typeof rpc).toBe(isSeen ? "object" : "string");
      if (!isSeen) expect(rpc).toBe("PERMISSION_DENIED");
    }
  }
  // With a list of what is allowed nothing else counts, as in Dapr.
  expect(seen).toEqual({
    deny: ["db"],
    allow: ["db"],
    both: ["db", "root"],
    closed: [],
    open: ["db", "root"],
  });
  // Not there and not to be seen are the same.
  expect((await mecha.http("a", "GET /v1.0/secrets/closed/nope")).status).toBe(403);
});

test("a component is there for the apps of its scopes, and its types can be denied", async () => {
  const deniesMemory = configOf({ components: { deny: ["state.in-memory"] } });
  const resources =
    component("mine", "state.in-memory", {}, "scopes: [a, c]") + component("all", "state.in-memory", {});
  const apps = [{ appId: "a" }, { appId: "b" }];
  const mecha = await start(apps, resources);
  for (const { appId, name, isThere } of [
    { appId: "a", name: "mine", isThere: true },
    { appId: "b", name: "mine", isThere: false },
    { appId: "b", name: "all", isThere: true },
  ]) {
    const http = await mecha.http(appId, `GET /v1.0/state/${name}/k`);
    const rpc = await callOf(mecha, appId)(Dapr.method.getState, { storeName: name, key: "k" });
    if (isThere) expect([http.status, typeof rpc]).toEqual([204, "object"]);
    else {
      expect(http.json()).toMatchObject({ errorCode: "ERR_STATE_STORE_NOT_FOUND" });
      expect(rpc).toBe("INVALID_ARGUMENT");
    }
    expect((await mecha.http(appId, "GET /v1.0/metadata")).text.includes(`"${name}"`)).toBe(isThere);
  }
  const denied = await start([{ appId: "c", options: { configPaths: [deniesMemory] } }], resources);
  expect((await denied.http("c", "GET /v1.0/state/mine/k")).status).toBe(400);
  expect((await denied.http("c", "GET /v1.0/state/statestore/k")).status).toBe(204);
  expect(denied.log()).toContain("mine");
});

test("topic scopes bound who publishes what and who gets it", async () => {
  const scoped = {
    allowedTopics: "orders,audit,news",
    protectedTopics: "audit",
    publishingScopes: "a=orders,audit;b=",
    subscriptionScopes: "b=orders",
  };
  const resources = component("bus", "pubsub.mecha", scoped);
  const topics = ["orders", "audit", "news", "other"];
  const subscriptions = topics.map((topic) => ({ pubsubname: "bus", topic, route: `/${topic}` }));
  const [app, free] = [await fakeApp({ subscriptions }), await fakeApp({ subscriptions })];
  closers.push(
    () => app.close(),
    () => free.close(),
  );
  const mecha = await start([{ appId: "a" }, { appId: "b", app }, { appId: "c", app: free }], resources);
  const mayPublish: Record<string, string[]> = { a: [], b: [], c: [] };
  for (const appId of ["a", "b", "c"]) {
    const call = callOf(mecha, appId);
    for (const topic of topics) {
      const http = await mecha.http(appId, `POST /v1.0/publish/bus/${topic}`, { body: { by: appId } });
      const rpc = await call(Dapr.method.publishEvent, { pubsubName: "bus", topic });
      if (http.status === 204) mayPublish[appId]?.push(topic);
      else expect([http.status, http.text]).toEqual([403, expect.stringContaining("ERR_PUBSUB_FORBIDDEN")]);
      expect(typeof rpc === "string" ? rpc : "OK").toBe(http.status === 204 ? "OK" : "PERMISSION_DENIED");
    }
  }
  expect(mayPublish).toEqual({ a: ["orders", "audit"], b: [], c: ["orders", "news"] });
  await until(() => free.received("/news").length >= 1, "the news of the app without scopes");
  await until(() => app.received("/orders").length >= 2, "the orders of the scoped app");
  const routesOf = ({ requests }: typeof app) => [...new Set(requests.map(({ target }) => target))].sort();
  expect(routesOf(app)).toEqual(["/orders"]);
  expect(routesOf(free)).toEqual(["/news", "/orders"]);
});
