import { afterEach, expect, test } from "bun:test";
import { DaprWorkflowClient } from "@dapr/dapr";
import { fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const once = (spec: string) =>
  `apiVersion: mecha.run/v1alpha1\nkind: Idempotency\nmetadata: { name: once }\nspec:\n${spec}`;
const checkouts = once("  targetRefs: [{ kind: Workflow, name: checkout }]\n  key: [workflow.input.order]\n");

const start = (mecha: TestMecha, body: object, name = "checkout") =>
  mecha.http("shop", `POST /v1.0/workflows/dapr/${name}/start`, { body });
const idOf = ({ json }: { json(): unknown }) => (json() as { instanceID: string }).instanceID;

test("a key starts a workflow once, over HTTP and with the SDK's client, also after a restart", async () => {
  const mecha = await startMecha({ apps: [{ appId: "shop" }], resources: checkouts });
  closers.push(() => mecha.stop());
  const first = idOf(await start(mecha, { order: "a", n: 1 }));
  expect(idOf(await start(mecha, { order: "a", n: 1 }))).toBe(first);
  await mecha.restart();
  expect(idOf(await start(mecha, { order: "a", n: 1 }))).toBe(first);
  const client = new DaprWorkflowClient({
    daprHost: "127.0.0.1",
    daprPort: String(mecha.ports("shop").grpc),
  });
  closers.push(() => client.stop());
  expect(await client.scheduleNewWorkflow("checkout", { order: "a", n: 1 })).toBe(first);
  expect(await client.scheduleNewWorkflow("checkout", { order: "b" }, "mine")).toBe("mine");
  expect(idOf(await start(mecha, { order: "b" }))).toBe("mine");
  const reused = await start(mecha, { order: "a", n: 2 });
  expect([reused.status, reused.json()]).toMatchObject([422, { errorCode: "ERR_IDEMPOTENCY_KEY_REUSED" }]);
  // Without a key, and of another name: each start is one of its own.
  const others = [
    await start(mecha, {}),
    await start(mecha, {}),
    await start(mecha, { order: "a" }, "other"),
  ];
  expect(new Set([first, ...others.map(idOf)]).size).toBe(4);
});

test("many starts at once with one key are one instance; a start that fails leaves the key free", async () => {
  const mecha = await startMecha({ apps: [{ appId: "shop" }], resources: checkouts });
  closers.push(() => mecha.stop());
  const ids = await Promise.all(Array.from({ length: 20 }, () => start(mecha, { order: "a" })));
  expect(new Set(ids.map(idOf)).size).toBe(1);
  const taken = await mecha.http("shop", `POST /v1.0/workflows/dapr/other/start?instanceID=mine`);
  expect(taken.status).toBe(202);
  const refused = await mecha.http("shop", "POST /v1.0/workflows/dapr/checkout/start?instanceID=mine", {
    body: { order: "b" },
  });
  expect(refused.status).toBe(500);
  expect((await start(mecha, { order: "b" })).status).toBe(202);
});

test("an input binding brings an event of one key until it is handled, and never again", async () => {
  const resources = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ticks }
spec:
  type: bindings.cron
  version: v1
  metadata: [{ name: schedule, value: "@every 100ms" }, { name: direction, value: input }]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: free }
spec:
  type: bindings.cron
  version: v1
  metadata: [{ name: schedule, value: "@every 100ms" }, { name: direction, value: input }]
---
${once("  targetRefs: [{ kind: Component, name: ticks }]\n  key: [{ constant: today }]\n")}`;
  let guarded = 0;
  let free = 0;
  const app = await fakeApp({
    handlers: {
      "POST /ticks": () => ({ status: ++guarded < 3 ? 500 : 200 }),
      "POST /free": () => ({ status: ++free > 0 ? 200 : 500 }),
    },
  });
  closers.push(() => app.close());
  const mecha = await startMecha({ apps: [{ appId: "shop", app }], resources });
  closers.push(() => mecha.stop());
  await until(() => guarded === 3, "the event to be handled");
  const seen = free;
  await until(() => free > seen + 5, "more events of the other binding");
  expect(guarded).toBe(3);
});
