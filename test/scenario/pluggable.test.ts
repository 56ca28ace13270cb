import { afterAll, beforeAll, expect, test } from "bun:test";
import { type AppRequest, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { type PluggedProcess, startPlugged } from "../contract/pluggable.ts";

// Components of a process beside mecha, made with Dapr's SDK, under an app.

let plugged: PluggedProcess;
let mecha: TestMecha;
const seen: AppRequest[] = [];
const closers: (() => unknown)[] = [];

const component = (name: string, type: string, items: Record<string, string>) => ({
  ...{ apiVersion: "dapr.io/v1alpha1", kind: "Component", metadata: { name } },
  spec: {
    type,
    version: "v1",
    metadata: Object.entries(items).map(([key, value]) => ({ name: key, value })),
  },
});
const resources = [
  component("vault", "secretstores.safe", {}),
  component("orders", "state.kept", { file: "orders", actorStateStore: "true" }),
  component("bus", "pubsub.kept", { file: "bus" }),
  {
    ...component("echo", "bindings.kept", {}),
    auth: { secretStore: "vault" },
    spec: {
      ...{ type: "bindings.kept", version: "v1" },
      metadata: [{ name: "greeting", secretKeyRef: { name: "conftestsecret", key: "conftestsecret" } }],
    },
  },
];

beforeAll(async () => {
  plugged = await startPlugged();
  closers.push(() => plugged.stop());
  const take = (request: AppRequest) => {
    seen.push(request);
    return { status: 200, body: {} };
  };
  const subscriptions = [{ pubsubname: "bus", topic: "placed", route: "/placed" }];
  const app = await fakeApp({
    subscriptions,
    handlers: {
      "OPTIONS /echo": () => ({ status: 200 }),
      "POST /echo": take,
      "POST /placed": take,
    },
  });
  closers.push(() => app.close());
  const env = { DAPR_COMPONENTS_SOCKETS_FOLDER: plugged.sockets.path };
  const text = resources.map((one) => JSON.stringify(one)).join("\n---\n");
  mecha = await startMecha({ apps: [{ appId: "shop", app }], resources: text, env });
  closers.push(() => mecha.stop());
}, 600_000);
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

const bodies = (path: string) => seen.filter((one) => one.target === path).map((one) => one.text);

test("the metadata lists them with what they can", async () => {
  const answer = await mecha.http("shop", "GET /v1.0/metadata");
  const listed = (answer.json() as { components: { name: string; type: string; capabilities: string[] }[] })
    .components;
  const of = (name: string) => listed.find((one) => one.name === name);
  expect(of("orders")).toMatchObject({
    type: "state.kept",
    capabilities: ["ETAG", "TRANSACTIONAL", "TTL", "ACTOR"],
  });
  expect(of("bus")?.type).toBe("pubsub.kept");
  expect(of("echo")?.capabilities).toEqual(["INPUT_BINDING", "OUTPUT_BINDING"]);
  expect(of("vault")).toMatchObject({
    type: "secretstores.safe",
    capabilities: ["MULTIPLE_KEY_VALUES_PER_SECRET"],
  });
});

test("state, with etags that do not match", async () => {
  const save = (etag: string) =>
    mecha.http("shop", "POST /v1.0/state/orders", {
      body: [{ key: "a", value: { x: 1 }, ...(etag && { etag }) }],
    });
  expect((await save("")).status).toBe(204);
  expect((await mecha.http("shop", "GET /v1.0/state/orders/a")).json()).toEqual({ x: 1 });
  expect((await save("999")).status).toBe(409);
  expect((await save("none")).status).toBe(400);
});

test("events go to the app, bindings both ways, and a secret is its metadata", async () => {
  await mecha.http("shop", "POST /v1.0/publish/bus/placed", { body: { id: 1 } });
  await until(() => bodies("/placed").length === 1, "the event is there");
  expect(JSON.parse(bodies("/placed")[0] ?? "")).toMatchObject({ topic: "placed", data: { id: 1 } });
  const ask = (operation: string, data: string) =>
    mecha.http("shop", "POST /v1.0/bindings/echo", { body: { operation, data } });
  expect((await ask("create", "!")).text).toStartWith("abcd");
  await ask("emit", "rung");
  await until(() => bodies("/echo").some((text) => text.includes("rung")), "the binding's event is there");
  const secret = await mecha.http("shop", "GET /v1.0/secrets/vault/secondsecret");
  expect(secret.json()).toEqual({ secondsecret: "efgh" });
});

test("after kill -9 and a restart everything goes on by itself", async () => {
  await mecha.http("shop", "POST /v1.0/state/orders", { body: [{ key: "kept", value: "before" }] });
  await plugged.server.kill();
  await plugged.server.start();
  expect((await mecha.http("shop", "GET /v1.0/state/orders/kept")).json()).toBe("before");
  const count = bodies("/placed").length;
  await mecha.http("shop", "POST /v1.0/publish/bus/placed", { body: { id: 2 } });
  await until(() => bodies("/placed").length > count, "the next event is there");
});

test("an unknown type says which socket it looked for", async () => {
  const env = { DAPR_COMPONENTS_SOCKETS_FOLDER: plugged.sockets.path };
  const missing = { ...component("x", "state.absent", {}) };
  const spec = { ...missing.spec, initTimeout: "200ms" };
  const starting = startMecha({
    apps: [{ appId: "shop" }],
    resources: JSON.stringify({ ...missing, spec }),
    env,
  });
  const error = await starting.then(
    () => undefined,
    (one: Error) => one,
  );
  expect(String(error)).toContain(`there is no socket absent.sock in ${plugged.sockets.path}`);
});
