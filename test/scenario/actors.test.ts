import { afterEach, expect, test } from "bun:test";
import {
  type AppHandler,
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

/** An app with actors of the type `Cat`; other requests than the handler's are answered with 200. */
async function cats(
  otherwise: AppHandler = () => ({}),
  config: object = {},
  handlers: Record<string, AppHandler> = {},
): Promise<FakeApp> {
  return keep(await fakeApp({ config: { entities: ["Cat"], ...config }, handlers, otherwise }));
}

const requestsOf = (app: FakeApp) => app.requests.map(({ method, target }) => `${method} ${target}`);

test("a call reaches the actor, from its own runtime and from another app's", async () => {
  const app = await cats(({ method, target, text, header }) => ({
    headers: { "Content-Type": "text/plain", "X-Mood": "good" },
    body: `${method} ${target} ${text} ${header("x-extra")}`,
  }));
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }, { appId: "visitor" }] }));
  for (const appId of ["home", "visitor"]) {
    const answer = await mecha.http(appId, "POST /v1.0/actors/Cat/tom/method/feed", {
      headers: { "X-Extra": "1" },
      body: "fish",
    });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe("PUT /actors/Cat/tom/method/feed fish 1");
    expect(answer.header("x-mood")).toBe("good");
  }
  const metadata = (await mecha.http("home", "GET /v1.0/metadata")).json();
  expect(metadata).toMatchObject({
    actorRuntime: {
      runtimeStatus: "RUNNING",
      activeActors: [{ type: "Cat", count: 1 }],
      hostReady: true,
      placement: "placement: connected",
    },
  });
});

test("one turn at a time per actor, first come first served; other actors at once", async () => {
  const running = new Map<string, number>();
  let most = 0;
  let together = 0;
  const order: string[] = [];
  const app = await cats(async ({ method, target, text }) => {
    if (method === "DELETE") return {};
    const id = target.split("/")[3] ?? "";
    running.set(id, (running.get(id) ?? 0) + 1);
    most = Math.max(most, running.get(id) ?? 0);
    together = Math.max(
      together,
      [...running.values()].reduce((sum, count) => sum + count, 0),
    );
    await Bun.sleep(5);
    order.push(`${id} ${text}`);
    running.set(id, (running.get(id) ?? 0) - 1);
    return {};
  });
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  // So many connections are open then: a call that waits for one would come after those that were made later.
  const others = Array.from({ length: 20 }, (_, i) => `PUT /v1.0/actors/Cat/other${i}/method/x`);
  await Promise.all(others.map((line) => mecha.http("home", line)));
  together = 0;
  await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/x", { body: "0" });
  await Promise.all(
    ["tom", "felix"].map(async (id) => {
      const calls: Promise<unknown>[] = [];
      for (let i = 1; i <= 10; i++) {
        calls.push(mecha.http("home", `PUT /v1.0/actors/Cat/${id}/method/x`, { body: String(i) }));
        await Bun.sleep(1);
      }
      await Promise.all(calls);
    }),
  );
  expect(most).toBe(1);
  expect(together).toBe(2);
  const toms = order.filter((line) => line.startsWith("tom")).map((line) => Number(line.slice(4)));
  expect(toms).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("an actor may call itself through another when reentrancy is on, as deep as allowed", async () => {
  let mecha: TestMecha | undefined;
  const answers: string[] = [];
  const app = await cats(
    async ({ method, text, header }) => {
      if (method === "DELETE") return {};
      const depth = Number(text);
      const answer = await mecha?.http("home", "PUT /v1.0/actors/Cat/tom/method/again", {
        headers: { "Dapr-Reentrancy-Id": header("dapr-reentrancy-id") ?? "" },
        body: String(depth + 1),
      });
      answers.push(`${depth} ${answer?.status} ${answer?.text}`);
      return {};
    },
    { reentrancy: { enabled: true, maxStackDepth: 3 } },
  );
  mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/again", { body: "1" });
  expect(answers).toHaveLength(3);
  expect(answers[0]).toStartWith("3 500 ");
  expect(answers[0]).toContain("ERR_ACTOR_STACK_DEPTH");
  expect(answers[2]).toStartWith("1 200");
});

test("state is kept in transactions, with a life time, and only for active actors", async () => {
  const app = await cats();
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  const state = "/v1.0/actors/Cat/tom/state";
  const early = await mecha.http("home", `GET ${state}/name`);
  expect([early.status, (early.json() as { errorCode: string }).errorCode]).toEqual([
    400,
    "ERR_ACTOR_INSTANCE_MISSING",
  ]);
  await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake");
  const saved = await mecha.http("home", `POST ${state}`, {
    body: [
      { operation: "upsert", request: { key: "name", value: { first: "Tom", big: 1 } } },
      { operation: "upsert", request: { key: "soon", value: 1, metadata: { ttlInSeconds: "100" } } },
      { operation: "delete", request: { key: "other" } },
    ],
  });
  expect(saved.status).toBe(204);
  const name = await mecha.http("home", `GET ${state}/name`);
  expect([name.status, name.text]).toEqual([200, '{"first":"Tom","big":1}']);
  expect((await mecha.http("home", `GET ${state}/soon`)).header("metadata.ttlexpiretime")).toBeString();
  expect((await mecha.http("home", `GET ${state}/none`)).status).toBe(204);
  const bad = await mecha.http("home", `POST ${state}`, {
    body: [
      { operation: "upsert", request: { key: "name", value: 2 } },
      { operation: "grow", request: { key: "x" } },
    ],
  });
  expect([bad.status, (bad.json() as { errorCode: string }).errorCode]).toEqual([
    500,
    "ERR_ACTOR_STATE_TRANSACTION_SAVE",
  ]);
  await mecha.restart();
  await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake");
  expect((await mecha.http("home", `GET ${state}/name`)).json()).toEqual({ first: "Tom", big: 1 });
});

test("timers fire while the actor is active, and go with it", async () => {
  const app = await cats(undefined, { actorIdleTimeout: "300ms" });
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  const body = { dueTime: "10ms", period: "R3/20ms", callback: "sound", data: { loud: true } };
  await until(async () => {
    await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake");
    return (await mecha.http("home", "POST /v1.0/actors/Cat/tom/timers/purr", { body })).status === 204;
  }, "a timer before the actor sleeps");
  const fired = () => app.requests.filter(({ target }) => target.endsWith("/method/timer/purr"));
  await until(() => fired().length === 3, "three fires");
  expect(fired()[0]?.json()).toEqual(body);
  await mecha.http("home", "POST /v1.0/actors/Cat/tom/timers/later", { body: { dueTime: "1h" } });
  await until(() => requestsOf(app).includes("DELETE /actors/Cat/tom"), "the actor to be put to sleep");
  expect(fired()).toHaveLength(3);
  const none = await mecha.http("home", "POST /v1.0/actors/Cat/tom/timers/purr", { body: { dueTime: "1s" } });
  expect(none.status).toBe(400);
});

test("reminders wake actors, repeat, end, and survive a restart", async () => {
  const app = await cats(({ target }) => {
    const headers: Record<string, string> = {};
    if (target.endsWith("/remind/once-more")) headers["X-DaprReminderCancel"] = "true";
    return { headers };
  });
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  const put = (name: string, body: object) =>
    mecha.http("home", `POST /v1.0/actors/Cat/tom/reminders/${name}`, { body });
  const fires = (name: string) => app.requests.filter(({ target }) => target.endsWith(`/remind/${name}`));
  const later = { dueTime: "1h", period: "R2/PT0.03S", data: ["milk", 1.5] };
  for (const [name, dueTime] of Object.entries({ eat: "20ms", later: "1h" }))
    expect((await put(name, { ...later, dueTime })).status).toBe(204);
  expect((await put("later", { ...later, overwrite: false })).status).toBe(409);
  expect((await mecha.http("home", "GET /v1.0/actors/Cat/tom/reminders/later")).json()).toEqual({
    actorID: "tom",
    actorType: "Cat",
    ...later,
  });
  await put("once-more", { dueTime: "1ms", period: "10ms" });
  await until(() => fires("eat").length === 2 && fires("once-more").length === 1, "the reminders to fire");
  expect(fires("eat")[0]?.json()).toEqual({ dueTime: "20ms", period: "R2/PT0.03S", data: ["milk", 1.5] });
  await until(
    async () => (await mecha.http("home", "GET /v1.0/actors/Cat/tom/reminders/eat")).status === 404,
    "the reminder to be over",
  );
  await put("after", { dueTime: "300ms" });
  await mecha.restart();
  await until(() => fires("after").length === 1, "the reminder to fire after the restart");
  expect(fires("once-more")).toHaveLength(1);
});

test("failures of actors have Dapr's words; an actor's own error passes as it is", async () => {
  const app = await cats(({ target }) => {
    if (target.endsWith("/own"))
      return { status: 422, headers: { "X-DaprErrorResponseHeader": "true" }, body: '{"why":"no"}' };
    return target.endsWith("/absent") ? { status: 404 } : { status: 500, body: "boom" };
  });
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  const call = (path: string) => mecha.http("home", `PUT /v1.0/actors/${path}`);
  const own = await call("Cat/tom/method/own");
  expect([own.status, own.text, own.header("x-daprerrorresponseheader")]).toEqual([
    422,
    '{"why":"no"}',
    "true",
  ]);
  expect((await call("Cat/tom/method/other")).json()).toMatchObject({
    errorCode: "ERR_ACTOR_INVOKE_METHOD",
    message: "error invoke actor method: error from actor service: (500) boom",
  });
  expect((await call("Cat/tom/method/absent")).json()).toMatchObject({
    errorCode: "ERR_ACTOR_INVOKE_METHOD",
    message: "error invoke actor method: actor method not found",
  });
  const unknown = await call("Dog/rex/method/bark");
  expect([unknown.status, unknown.json()]).toMatchObject([
    404,
    { errorCode: "ERR_ACTOR_NO_ADDRESS", message: "did not find address for actor 'Dog||rex'" },
  ]);
  const reserved = await call("dapr.internal.default.home.workflow/1/method/x");
  expect(reserved.status).toBe(403);
  const hosted = await mecha.http("home", "POST /v1.0/actors/Dog/rex/reminders/r", {
    body: { dueTime: "1s" },
  });
  expect(hosted.status).toBe(403);
});

test("an idle actor is deactivated, and lives again with the next call", async () => {
  const app = await cats(undefined, { actorIdleTimeout: "100ms" });
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake");
  await until(() => requestsOf(app).includes("DELETE /actors/Cat/tom"), "the deactivation");
  expect((await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake")).status).toBe(200);
});

test("strict daprd has no actors without a placement address", async () => {
  const app = await cats();
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app, options: { isStrict: true } }] }));
  const answer = await mecha.http("home", "PUT /v1.0/actors/Cat/tom/method/wake");
  expect([answer.status, answer.json()]).toMatchObject([
    400,
    { errorCode: "ERR_ACTOR_NO_PLACEMENT", message: "placement service is not configured" },
  ]);
});

/** A host is heard of a moment after it is there: calls actors until both have had one of them. */
async function knowsBoth(mecha: TestMecha, from: string, apps: readonly FakeApp[]): Promise<void> {
  let number = 0;
  const had = (app: FakeApp) => app.requests.some(({ target }) => target.includes(`/${from}-probe-`));
  await until(async () => {
    await mecha.http(from, `POST /v1.0/actors/Cat/${from}-probe-${++number}/method/feed`);
    return apps.every(had);
  }, `${from} to know both hosts`);
}

test("hosts of one type share its actors, each at one of them", async () => {
  const [first, second] = [await cats(), await cats()];
  const apps = [{ appId: "one", app: first }, { appId: "two", app: second }, { appId: "visitor" }];
  const mecha = keep(await startMecha({ apps }));
  const ids = Array.from({ length: 40 }, (_, index) => `cat-${index}`);
  const appIds = ["one", "two", "visitor"];
  for (const appId of appIds) await knowsBoth(mecha, appId, [first, second]);
  for (const appId of appIds) {
    const calls = ids.map((id) => mecha.http(appId, `POST /v1.0/actors/Cat/${id}/method/feed`));
    for (const { status } of await Promise.all(calls)) expect(status).toBe(200);
  }
  const seen = (app: FakeApp) =>
    new Set(app.requests.map(({ target }) => target.split("/")[3]).filter((id) => id?.startsWith("cat-")));
  expect(seen(first).size + seen(second).size).toBe(ids.length);
  expect(Math.min(seen(first).size, seen(second).size)).toBeGreaterThan(5);
});

test("actors keep their state in the component that says so", async () => {
  const resources = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: state.in-memory
  version: v1
  metadata: [{ name: actorStateStore, value: "true" }]
`;
  const app = await cats();
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }], resources }));
  await mecha.http("home", "POST /v1.0/actors/Cat/tom/method/wake");
  const body = [{ operation: "upsert", request: { key: "mood", value: "good" } }];
  expect((await mecha.http("home", "POST /v1.0/actors/Cat/tom/state", { body })).status).toBe(204);
  const raw = await mecha.http("home", "GET /v1.0/actors/Cat/tom/state/mood");
  expect([raw.status, raw.text]).toEqual([200, '"good"']);
  await mecha.restart();
  await mecha.http("home", "POST /v1.0/actors/Cat/tom/method/wake");
  expect((await mecha.http("home", "GET /v1.0/actors/Cat/tom/state/mood")).status).toBe(204);
});

test("an app that answers what is no JSON has no actors, and is not asked twice", async () => {
  let asked = 0;
  const app = keep(
    await fakeApp({ config: () => (++asked > 0 ? "hello" : {}), otherwise: () => ({ body: "purr" }) }),
  );
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  expect((await mecha.http("home", "GET /v1.0/invoke/home/method/x")).text).toBe("purr");
  expect(asked).toBe(1);
});

test("an app that can not say its types at once is asked again", async () => {
  let asked = 0;
  const app = keep(
    await fakeApp({
      config: () => (++asked === 1 ? { entities: "not yet" } : { entities: ["Cat"] }),
      otherwise: () => ({ body: "purr" }),
    }),
  );
  const mecha = keep(await startMecha({ apps: [{ appId: "home", app }] }));
  expect((await mecha.http("home", "POST /v1.0/actors/Cat/tom/method/feed")).text).toBe("purr");
  expect(asked).toBe(2);
});
