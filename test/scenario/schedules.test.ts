import { afterEach, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Listed {
  name: string;
  when: string;
  to: string;
  suspended: boolean;
  next?: string;
  runs: number;
  last?: { due: string; result: string; reason?: string };
}

async function start(spec: string, app: FakeApp, count = 1): Promise<TestMecha> {
  const resources = `
apiVersion: mecha.run/v1alpha1
kind: Schedule
metadata: { name: tick }
spec:
${spec}`;
  const apps = Array.from({ length: count }, (_, index) => ({ appId: `app${index}`, app }));
  const mecha = await startMecha({ apps, resources });
  closers.push(
    () => app.close(),
    () => mecha.stop(),
  );
  return mecha;
}

async function listed(mecha: TestMecha): Promise<Listed> {
  const reply = await mecha.http("app0", "GET /v1.0-alpha1/mecha/schedules");
  return (reply.json() as { schedules: Listed[] }).schedules[0] as Listed;
}

const ok = () => ({ status: 200 });

test("a schedule calls its app once per due time, whichever of three runtimes claims it", async () => {
  const app = await fakeApp({ handlers: { "POST /tick": ok } });
  const mecha = await start(
    `  every: 200ms
  repeats: 5
  data: { n: 1 }
  to: app://app0/tick`,
    app,
    3,
  );
  await until(() => app.requests.length >= 5, "five calls");
  await until(async () => (await listed(mecha)).runs === 0, "the runs end");
  const ids = app.requests.map((request) => request.header("ce-id"));
  expect(new Set(ids).size).toBe(5);
  expect(app.requests).toHaveLength(5);
  const [first] = app.requests;
  expect(first?.json()).toEqual({ n: 1 });
  expect(first?.header("ce-type")).toBe("run.mecha.schedule.due");
  expect(first?.header("idempotency-key")).toBe(first?.header("ce-id"));
  expect((await listed(mecha)).next).toBeUndefined();
}, 30_000);

test("a schedule that is over does not begin again when the runtime restarts", async () => {
  const app = await fakeApp({ handlers: { "POST /once": ok } });
  const mecha = await start(`  at: "2026-01-01T00:00:00Z"\n  to: app://app0/once`, app);
  await until(async () => (await listed(mecha)).last?.result === "delivered", "the run");
  await mecha.restart();
  expect(await listed(mecha)).toMatchObject({ runs: 0, last: { due: "2026-01-01T00:00:00.000Z" } });
  expect((await listed(mecha)).next).toBeUndefined();
  expect(app.requests).toHaveLength(1);
}, 30_000);

test("a failed delivery is tried again, given up after its retries, and sent to the dead letters", async () => {
  const app = await fakeApp({
    handlers: { "POST /fails": () => ({ status: 503 }), "POST /dead": ok },
  });
  const mecha = await start(
    `  at: "2026-01-01T00:00:00Z"
  to: app://app0/fails
  delivery: { retry: 2, backoffDelay: 10ms, deadLetterSink: "app://app0/dead" }`,
    app,
  );
  await until(async () => (await listed(mecha)).last?.result === "failed", "giving up");
  expect(app.requests.map(({ target }) => target)).toEqual(["/fails", "/fails", "/fails", "/dead"]);
  expect(app.requests.at(-1)?.header("ce-errorreason")).toContain("503");
}, 30_000);

test("what an app refuses for good is not tried again", async () => {
  const app = await fakeApp({ handlers: { "POST /refuses": () => ({ status: 422 }) } });
  const mecha = await start(`  at: "2026-01-01T00:00:00Z"\n  to: app://app0/refuses`, app);
  await until(async () => (await listed(mecha)).last?.result === "failed", "giving up");
  expect(app.requests).toHaveLength(1);
}, 30_000);

test("a schedule publishes to a topic", async () => {
  const app = await fakeApp({ subscriptions: [{ pubsubname: "pubsub", topic: "ticks", route: "/ticks" }] });
  await start(`  every: 100ms\n  repeats: 1\n  data: { hello: 1 }\n  to: topic://pubsub/ticks`, app);
  await until(() => app.received("/ticks").length > 0, "the event");
  expect(app.received("/ticks")).toEqual([{ hello: 1 }]);
  const event = app.requests[0]?.json() as { source: string; type: string };
  expect(event).toMatchObject({ source: "schedule/tick", type: "run.mecha.schedule.due" });
}, 30_000);

test("with Forbid a due time that finds a run under way passes", async () => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const app = await fakeApp({ handlers: { "POST /slow": () => held.then(ok) } });
  const mecha = await start(`  every: 50ms\n  concurrencyPolicy: Forbid\n  to: app://app0/slow`, app);
  await until(() => app.requests.length > 0, "the first call");
  const { next = "" } = await listed(mecha);
  await until(async () => ((await listed(mecha)).next ?? "") > next, "due times pass");
  expect((await listed(mecha)).runs).toBe(1);
  expect(app.requests).toHaveLength(1);
  release();
  await until(() => app.requests.length > 1, "the next call");
}, 30_000);

test("a singleton schedule runs under its leader", async () => {
  const app = await fakeApp({ handlers: { "POST /tick": ok } });
  await start(`  every: 100ms\n  repeats: 3\n  singleton: true\n  to: app://app0/tick`, app, 2);
  await until(() => app.requests.length >= 3, "three calls");
  expect(new Set(app.requests.map((request) => request.header("ce-id"))).size).toBe(3);
}, 30_000);

test("a singleton schedule goes on under the next leader of its group", async () => {
  const app = await fakeApp({ handlers: { "POST /tick": ok } });
  const group = `---
apiVersion: mecha.run/v1alpha1
kind: Singleton
metadata: { name: ticking }
spec: { leaseDuration: 900ms }`;
  const mecha = await start(`  every: 50ms\n  singleton: ticking\n  to: app://app0/tick\n${group}`, app, 2);
  const base = "/v1.0-alpha1/mecha/election/ticking";
  const leader = async () =>
    (await mecha.http("app0", `GET ${base}/leader`)).json() as { term: number; fencingToken: number };
  for (let term = 1; term <= 3; term++) {
    const before = app.requests.length;
    await until(() => app.requests.length > before + 2, `calls in term ${term}`);
    const { fencingToken } = await leader();
    const reply = await mecha.http("app1", `POST ${base}/resign`, { body: { fencingToken } });
    expect(reply.status).toBe(204);
    await until(async () => (await leader()).term > term, "the next term");
  }
  const ids = app.requests.map((request) => request.header("ce-id"));
  expect(new Set(ids).size).toBe(ids.length);
}, 30_000);

test("a schedule of `after` counts from the end of the run before", async () => {
  const app = await fakeApp({ handlers: { "POST /tick": ok } });
  const mecha = await start(`  after: 50ms\n  repeats: 3\n  to: app://app0/tick`, app);
  await until(() => app.requests.length >= 3, "three calls");
  await until(async () => (await listed(mecha)).runs === 0, "the last run ends");
  expect((await listed(mecha)).next).toBeUndefined();
  expect(app.requests).toHaveLength(3);
}, 30_000);

test("a suspended schedule runs nothing", async () => {
  const app = await fakeApp({ handlers: { "POST /tick": ok } });
  const mecha = await start(`  every: 20ms\n  suspend: true\n  to: app://app0/tick`, app);
  const { next = "", suspended } = await listed(mecha);
  expect(suspended).toBe(true);
  await until(async () => ((await listed(mecha)).next ?? "") > next, "due times pass");
  expect(app.requests).toHaveLength(0);
}, 30_000);

test("cron text that can not be is refused with its place", async () => {
  const app = await fakeApp();
  closers.push(() => app.close());
  const resources = `apiVersion: mecha.run/v1alpha1
kind: Schedule
metadata: { name: tick }
spec:
  schedule: "* * *"
  to: app://app0/tick`;
  const refused = startMecha({ apps: [{ appId: "app0", app }], resources });
  await expect(refused).rejects.toThrow(/resources\.yaml:5:.*expected exactly 6 fields/);
});
