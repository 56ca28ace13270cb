import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AppRequest,
  type FakeApp,
  fakeApp,
  startMecha,
  type TestMecha,
  until,
} from "../../src/testing/index.ts";

const started: (TestMecha | FakeApp)[] = [];

afterEach(async () => {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
});

function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

const effectsType = "application/vnd.mecha.effects+json";
const answer = (effects: string | object) => ({
  headers: { "Content-Type": effectsType },
  body: typeof effects === "string" ? effects : JSON.stringify(effects),
});
const resources = `apiVersion: mecha.run/v1alpha1
kind: Idempotency
metadata: { name: once }
spec:
  targetRefs:
    - { kind: App, name: orders }
    - { kind: Subscription, name: pubsub/paid }
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: foreign }
spec: { type: state.in-memory, version: v1 }
`;
const subscriptions = [
  { pubsubname: "pubsub", topic: "paid", route: "/paid" },
  { pubsubname: "pubsub", topic: "accepted", route: "/accepted" },
];

interface Shop {
  mecha: TestMecha;
  app: FakeApp;
  /** What the other app was called with. */
  mail: FakeApp;
}

async function shop(effects: (request: AppRequest) => string | object, yaml = resources): Promise<Shop> {
  const handler = (request: AppRequest) => answer(effects(request));
  const handlers = {
    "POST /order": handler,
    "POST /paid": handler,
    "POST /accepted": () => ({}),
    "POST /job/remind": () => ({}),
  };
  const app = keep(await fakeApp({ subscriptions, handlers }));
  let failures = 2;
  const mail = keep(
    await fakeApp({ handlers: { "POST /send": () => ({ status: failures-- > 0 ? 503 : 200 }) } }),
  );
  const apps = [
    { appId: "orders", app },
    { appId: "mail", app: mail },
  ];
  return { app, mail, mecha: keep(await startMecha({ apps, resources: yaml })) };
}

const order = ({ mecha }: Shop, key = "k") =>
  mecha.http("mail", "POST /v1.0/invoke/orders/method/order", {
    headers: { "Idempotency-Key": key },
    body: { id: 7 },
  });
const calls = (app: FakeApp, target: string) => app.requests.filter((request) => request.target === target);
const stored = ({ mecha }: Shop, key: string) => mecha.http("orders", `GET /v1.0/state/statestore/${key}`);

const all = `{
  "state": [{ "key": "order", "value": { "id": 12345678901234567890, "total": 1.0 } },
            { "op": "delete", "key": "old" }],
  "publish": [{ "topic": "accepted", "data": { "id": 7 } }],
  "schedule": [{ "name": "remind", "dueTime": "1ms", "data": { "in": "time" } }],
  "call": [{ "to": "app://mail/send", "body": { "to": "ann" } }],
  "reply": { "status": 201, "headers": { "x-order": "7" }, "body": { "ok": true } }
}`;

test("state, event, job, call and reply of a handler happen, once for a repeated key", async () => {
  const shopped = await shop(() => all);
  const { mecha, app, mail } = shopped;
  await mecha.http("orders", "POST /v1.0/state/statestore", { body: [{ key: "old", value: 1 }] });
  const first = await order(shopped);
  expect([first.status, first.header("x-order"), first.json()]).toEqual([201, "7", { ok: true }]);
  const again = await order(shopped);
  expect([again.status, again.header("idempotent-replayed")]).toEqual([201, "true"]);
  expect((await stored(shopped, "order")).text).toBe('{ "id": 12345678901234567890, "total": 1.0 }');
  expect((await stored(shopped, "old")).status).toBe(204);
  await until(() => app.received("/accepted").length === 1, "the event");
  await until(() => calls(app, "/job/remind").length === 1, "the job");
  expect(calls(app, "/job/remind")[0]?.json()).toEqual({ in: "time" });
  await until(() => calls(mail, "/send").length === 3, "the call, tried until it is answered");
  const keys = calls(mail, "/send").map((request) => request.header("idempotency-key"));
  expect(new Set(keys).size).toBe(1);
  expect(calls(mail, "/send")[0]?.json()).toEqual({ to: "ann" });
  expect(calls(app, "/order")).toHaveLength(1);
});

test("the effects of an event happen once, and its repetition does not reach the app", async () => {
  const shopped = await shop(() => ({ publish: [{ topic: "accepted", data: "x" }] }));
  const { mecha, app } = shopped;
  const publish = (id: string) =>
    mecha.http("orders", `POST /v1.0/publish/pubsub/paid?metadata.cloudevent.id=${id}`, { body: { id } });
  for (const id of ["a", "a", "b"]) await publish(id);
  await until(() => app.received("/accepted").length >= 2, "two events");
  await publish("c");
  await until(() => app.received("/accepted").length >= 3, "the third");
  expect(app.received("/accepted")).toHaveLength(3);
  expect(calls(app, "/paid")).toHaveLength(3);
});

test("effects that can not be applied leave nothing behind, and say why", async () => {
  const state = [{ key: "order", value: 1 }];
  const cases: [effects: object | string, status: number, why: string][] = [
    [
      { state: [...state, { key: "x", value: 1, store: "foreign" }] },
      500,
      "state store foreign is state.in-memory",
    ],
    [{ state: [...state, { key: "x", value: 1, etag: "77" }] }, 409, "does not exist"],
    [{ state, publsh: [] }, 500, "publsh: is not known"],
    [{ state, publish: [{ topic: "t", data: 1, pubsub: "none" }] }, 500, "none"],
    [{ state, schedule: [{ name: "j", schedule: "sometimes" }] }, 500, "sometimes"],
    [{ state, call: [{ to: "topic://pubsub/x" }] }, 500, "call[0].to: a call to topic:// is not implemented"],
    [{ state: [{ key: "a||b", value: 1 }, ...state] }, 500, "can't contain '||'"],
    [{ state, reply: { headers: { x: "a\r\nb: c" } } }, 500, "reply.headers: the value of x"],
    [{ state, call: [{ to: "app://mailer/send", headers: { "a b": "c" } }] }, 500, "call[0].headers"],
    [{ state: [{ ...state[0], ttlInSeconds: 1e300 }] }, 500, "state[0].ttlInSeconds: must be"],
    ["{ no json", 500, "the effects are no JSON"],
  ];
  let current: object | string = "";
  const shopped = await shop(() => current);
  for (const [effects, status, why] of cases) {
    current = effects;
    const refused = await order(shopped, JSON.stringify(effects).slice(0, 100));
    expect(refused.text).toContain(why);
    expect(refused.status).toBe(status);
    expect((await stored(shopped, "order")).status).toBe(204);
  }
  // The key is free again: a repaired handler may use it.
  current = { reply: { body: "done" } };
  expect((await order(shopped, JSON.stringify(cases[0]?.[0]).slice(0, 100))).text).toBe('"done"');
});

test("a changed Idempotency applies at once, a removed one too, a bad one not", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mecha-idempotency-"));
  const write = (yaml: string) => writeFileSync(join(folder, "a.yaml"), yaml);
  write("");
  let count = 0;
  const app = keep(await fakeApp({ handlers: { "POST /order": () => ({ body: { count: ++count } }) } }));
  const options = { resourcesPaths: [folder] };
  const mecha = keep(await startMecha({ apps: [{ appId: "orders", app, options }] }));
  const call = () =>
    mecha.http("orders", "POST /v1.0/invoke/orders/method/order", { headers: { "Idempotency-Key": "k" } });
  const isReplayed = async () => (await call()).header("idempotent-replayed") === "true";
  expect(await isReplayed()).toBe(false);
  expect(await isReplayed()).toBe(false);
  const [good = ""] = resources.split("---");
  write(good);
  await until(isReplayed, "the new resource");
  write(`${good}  key: "this is (no CEL"\n`);
  await until(() => mecha.log().includes("the changed Idempotency resources can not be used"), "a refusal");
  expect(mecha.log()).toContain("a.yaml:8:");
  expect(await isReplayed()).toBe(true);
  write("");
  await until(async () => !(await isReplayed()), "its end");
  rmSync(folder, { recursive: true });
});
