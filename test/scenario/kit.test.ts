import { afterEach, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";

const started: (TestMecha | FakeApp)[] = [];

afterEach(async () => {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
});

function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

test("one app calls another through its own runtime", async () => {
  const stock = keep(
    await fakeApp({ handlers: { "POST /reserve": ({ json }) => ({ body: { reserved: json() } }) } }),
  );
  const mecha = keep(await startMecha({ apps: [{ appId: "orders" }, { appId: "stock", app: stock }] }));
  const answer = await mecha.http("orders", "POST /v1.0/invoke/stock/method/reserve", {
    body: { item: "book" },
  });
  expect(answer.json()).toEqual({ reserved: { item: "book" } });
  expect(stock.requests[0]?.header("dapr-caller-app-id")).toBe("orders");
});

test("a published event reaches the subscriber, and a refused one comes again", async () => {
  let refusals = 1;
  const subscriptions = [{ pubsubname: "pubsub", topic: "orders", route: "/orders" }];
  const handlers = { "POST /orders": () => ({ status: refusals-- > 0 ? 500 : 200 }) };
  const listener = keep(await fakeApp({ subscriptions, handlers }));
  const mecha = keep(await startMecha({ apps: [{ appId: "listener", app: listener }] }));
  const published = await mecha.http("listener", "POST /v1.0/publish/pubsub/orders", { body: { id: 1 } });
  expect(published.status).toBe(204);
  await until(() => listener.received("/orders").length === 2, "the event to come twice", 20_000);
  expect(listener.received("/orders")).toEqual([{ id: 1 }, { id: 1 }]);
});

test("state is there after a restart, and belongs to its app", async () => {
  const mecha = keep(await startMecha({ apps: [{ appId: "a" }, { appId: "b" }] }));
  await mecha.http("a", "POST /v1.0/state/statestore", { body: [{ key: "colour", value: "red" }] });
  await mecha.restart();
  expect((await mecha.http("a", "GET /v1.0/state/statestore/colour")).text).toBe('"red"');
  expect((await mecha.http("b", "GET /v1.0/state/statestore/colour")).status).toBe(204);
});

test("resources replace what is there by default", async () => {
  const resources = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: statestore }
spec: { type: state.in-memory, version: v1, metadata: [] }
`;
  const mecha = keep(await startMecha({ apps: [{ appId: "a" }], resources }));
  await mecha.http("a", "POST /v1.0/state/statestore", { body: [{ key: "colour", value: "red" }] });
  await mecha.restart();
  expect((await mecha.http("a", "GET /v1.0/state/statestore/colour")).status).toBe(204);
});

test("a port that nobody asked for gives way to whoever has taken it meanwhile", async () => {
  const taken = keep(await fakeApp());
  const apps = (movablePorts: readonly "httpPort"[]) => [
    { appId: "a", options: { httpPort: taken.port, movablePorts } },
  ];
  await expect(startMecha({ apps: apps([]) })).rejects.toThrow(`port ${taken.port}`);
  const mecha = keep(await startMecha({ apps: apps(["httpPort"]) }));
  expect(mecha.ports("a").http).not.toBe(taken.port);
  expect((await mecha.http("a", "GET /v1.0/healthz")).status).toBe(204);
});
