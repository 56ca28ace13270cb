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

const idempotency = (spec: string, name = "once") =>
  `apiVersion: mecha.run/v1alpha1\nkind: Idempotency\nmetadata: { name: ${name} }\nspec:\n${spec}`;
const ofApp = idempotency("  targetRefs: [{ kind: App, name: orders }]\n");

const charge = (mecha: TestMecha, key: string | undefined, body: object = { amount: 1 }, from = "shop") =>
  mecha.http(from, "POST /v1.0/invoke/orders/method/charge", {
    headers: key === undefined ? {} : { "Idempotency-Key": key },
    body,
  });

async function shopAndOrders(handler: () => unknown, resources = ofApp) {
  let calls = 0;
  const app = keep(
    await fakeApp({
      handlers: {
        "POST /charge": () => {
          calls++;
          return handler() as object;
        },
      },
    }),
  );
  const apps = [{ appId: "orders", app }, { appId: "shop" }, { appId: "other" }];
  const mecha = keep(await startMecha({ apps, resources }));
  return { mecha, app, calls: () => calls };
}

test("a repeated key gets the first reply, also after a restart; no key, no record", async () => {
  let serial = 0;
  const { mecha, calls } = await shopAndOrders(() => ({
    status: 201,
    headers: { "x-serial": String(++serial) },
    body: { serial },
  }));
  const first = await charge(mecha, "k1");
  expect([first.status, first.header("idempotent-replayed")]).toEqual([201, undefined]);
  for (const restarts of [false, true]) {
    if (restarts) await mecha.restart();
    const again = await charge(mecha, "k1");
    expect([again.status, again.header("x-serial"), again.text]).toEqual([201, "1", first.text]);
    expect(again.header("idempotent-replayed")).toBe("true");
  }
  expect(calls()).toBe(1);
  await charge(mecha, undefined);
  await charge(mecha, undefined);
  expect(calls()).toBe(3);
});

test("a key with another body is refused, and a key belongs to its caller", async () => {
  const { mecha, calls } = await shopAndOrders(() => ({ body: { ok: true } }));
  await charge(mecha, "k1");
  const other = await charge(mecha, "k1", { amount: 2 });
  expect(other.status).toBe(422);
  expect(other.json()).toMatchObject({ errorCode: "ERR_IDEMPOTENCY_KEY_REUSED" });
  const stranger = await charge(mecha, "k1", { amount: 1 }, "other");
  expect(stranger.header("idempotent-replayed")).toBeUndefined();
  expect(calls()).toBe(2);
});

test("a failure is forgotten: the same key is tried again", async () => {
  let isDown = true;
  const { mecha, calls } = await shopAndOrders(() => ({ status: isDown ? 503 : 200 }));
  expect((await charge(mecha, "k1")).status).toBe(503);
  isDown = false;
  expect((await charge(mecha, "k1")).status).toBe(200);
  expect((await charge(mecha, "k1")).header("idempotent-replayed")).toBe("true");
  expect(calls()).toBe(2);
});

test("a concurrent duplicate waits for the first, or gets 409 when the resource says reject", async () => {
  for (const inFlight of ["wait", "reject"]) {
    let finish = (_: object): void => undefined;
    const answer = new Promise<object>((done) => {
      finish = done;
    });
    const resource = `${ofApp}  inFlight: ${inFlight}\n`;
    const { mecha, calls } = await shopAndOrders(() => answer, resource);
    const first = charge(mecha, "k1");
    await until(() => calls() === 1, "the first call");
    const second = charge(mecha, "k1");
    if (inFlight === "reject") {
      expect((await second).status).toBe(409);
      expect((await second).json()).toMatchObject({ errorCode: "ERR_IDEMPOTENCY_IN_FLIGHT" });
    }
    finish({ body: { done: 1 } });
    expect((await first).status).toBe(200);
    if (inFlight === "wait") expect((await second).header("idempotent-replayed")).toBe("true");
    expect(calls()).toBe(1);
  }
});

test("a key can come from an expression; a reply that is too large is not stored, and says so", async () => {
  const resource = idempotency(`  targetRefs: [{ kind: App, name: orders }]
  key: [request.body.order, request.method]
  fingerprint: none
  maxStoredBody: 1KiB
`);
  const { mecha, calls } = await shopAndOrders(() => ({ body: "x".repeat(5000) }), resource);
  expect((await charge(mecha, undefined, { order: "a", n: 1 })).text.length).toBeGreaterThanOrEqual(5000);
  const again = await charge(mecha, undefined, { order: "a", n: 2 });
  expect(again.status).toBe(409);
  expect(again.json()).toMatchObject({ errorCode: "ERR_IDEMPOTENCY_REPLY_LOST" });
  await charge(mecha, undefined, { order: "b" });
  await charge(mecha, undefined, {});
  await charge(mecha, undefined, {});
  expect(calls()).toBe(4);
});

test("an event of one source and id reaches the app once, its failures come again", async () => {
  const resources = `apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: paid }
spec: { pubsubname: pubsub, topic: paid, routes: { default: /paid } }
---
${idempotency("  targetRefs: [{ kind: Subscription, name: paid }]\n")}`;
  const seen: string[] = [];
  const app = keep(
    await fakeApp({
      handlers: {
        "POST /paid": (request) => {
          const { id } = request.json() as { id: string };
          seen.push(id);
          return { status: id === "b" && seen.filter((one) => one === "b").length === 1 ? 500 : 200 };
        },
      },
    }),
  );
  const mecha = keep(await startMecha({ apps: [{ appId: "orders", app }], resources }));
  const publish = (id: string) =>
    mecha.http("orders", `POST /v1.0/publish/pubsub/paid?metadata.cloudevent.id=${id}`, { body: { id } });
  for (const id of ["a", "a", "b", "a", "b", "last"]) await publish(id);
  await until(() => seen.includes("last") && seen.filter((id) => id === "b").length === 2, "all events");
  await publish("a");
  await publish("end");
  await until(() => seen.includes("end"), "the end");
  expect(seen.filter((id) => id === "a")).toHaveLength(1);
  expect(seen.filter((id) => id === "b")).toHaveLength(2);
});
