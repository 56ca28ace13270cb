// Names that are special to JavaScript, in every map that comes from outside (security.md §4.12, SEC-J1).
import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";

const shared = {
  Object,
  Array,
  Function,
  String,
  Number,
  Boolean,
  RegExp,
  Promise,
  Map,
  Set,
  Error,
  Buffer,
  Uint8Array,
  Date,
  Symbol,
};

/** Everything that all objects share: names, and what stands behind them. */
function snapshot(): Map<string, unknown> {
  const seen = new Map<string, unknown>();
  for (const [name, { prototype }] of Object.entries(shared)) {
    for (const key of Reflect.ownKeys(prototype)) {
      const { value, get, set } = Object.getOwnPropertyDescriptor(prototype, key) ?? {};
      seen.set(`${name} ${String(key)}`, value ?? get ?? set);
    }
  }
  return seen;
}

const flat = `{"__proto__":"1","constructor":"1","a":"1"}`;
const names = [
  "__proto__",
  "constructor",
  "prototype",
  "__defineGetter__",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "then",
];
const evil = (value: string) =>
  `{"__proto__":{"polluted":${value}},"constructor":{"prototype":{"polluted":${value}}},"a":${value}}`;

/** Everything that takes a name or a map, with names that must not mean anything. */
async function sendNames(mecha: TestMecha): Promise<void> {
  const json = { "content-type": "application/json" };
  const post = (path: string, body: string) => mecha.http("shop", `POST ${path}`, { headers: json, body });
  for (const name of names) {
    const saved = await post(
      "/v1.0/state/memory",
      `[{"key":"${name}","value":"of ${name}","metadata":${flat}}]`,
    );
    expect([name, saved.status]).toEqual([name, 204]);
    expect((await mecha.http("shop", `GET /v1.0/state/memory/${name}`)).text).toBe(`"of ${name}"`);
    for (const path of [
      "state",
      "secrets",
      "publish",
      "bindings",
      "invoke",
      "configuration",
      "actors",
      "workflows",
      "metadata",
    ]) {
      await mecha.http("shop", `GET /v1.0/${path}/${name}/${name}?metadata.${name}=1&${name}=1&key=${name}`);
      await post(`/v1.0/${path}/${name}/${name}?metadata.${name}.polluted=1`, evil("1"));
    }
    await mecha.http("shop", "GET /v1.0/metadata", { headers: { [name]: "1", [`dapr-${name}`]: "1" } });
    await mecha.http("shop", `PUT /v1.0/metadata/${name}`, { body: "1" });
    await post(`/v1.0/publish/pubsub/orders?metadata.${name}=1`, evil("1"));
  }
  await post("/v1.0/state/memory", evil("1"));
  await post("/v1.0/state/memory", `[${evil("1")}]`);
  await post("/v1.0/state/memory/bulk", `{"keys":["__proto__"],"metadata":${flat}}`);
  await post(
    "/v1.0/state/memory/transaction",
    `{"operations":[{"operation":"upsert","request":${evil("1")}}],"metadata":${flat}}`,
  );
  await post("/v1.0-alpha1/jobs/__proto__", `{"dueTime":"1h","data":${evil("1")}}`);
  await post("/v1.0/bindings/none", `{"operation":"create","metadata":${flat}}`);
  const grpc = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  const { input } = Dapr.method.getState;
  const request = create(input, {
    storeName: "memory",
    key: "__proto__",
    metadata: { constructor: "1", ["__proto__"]: "1" },
  });
  const bytes = toBinary(input, request);
  await grpc.unary("/dapr.proto.runtime.v1.Dapr/GetState", bytes, {
    metadata: names.map((name) => [name.toLowerCase(), "1"]),
  });
  grpc.close();
}

test("SEC-J1: no request changes what all objects share, and special names are names like any other", async () => {
  const app = await fakeApp({ otherwise: () => ({ body: evil("1"), headers: { "x-text": "1" } }) });
  const mecha = await startMecha({
    apps: [{ appId: "shop", app }],
    resources: `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: memory }
spec: { type: state.in-memory, version: v1 }
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: orders }
spec: { pubsubname: pubsub, topic: orders, routes: { default: /orders } }
`,
  });
  await until(
    async () => (await mecha.http("shop", "GET /v1.0/invoke/shop/method/x")).status === 200,
    "the app",
  );
  const before = snapshot();
  await sendNames(mecha);
  await until(() => app.requests.some(({ target }) => target === "/orders"), "the events");
  await mecha.stop();
  await app.close();
  const after = snapshot();
  expect([...after.keys()].filter((key) => !before.has(key))).toEqual([]);
  expect([...before].filter(([key, value]) => after.get(key) !== value).map(([key]) => key)).toEqual([]);
  expect("polluted" in {}).toBe(false);
});
