// Where actors and jobs go when an app's health changes, and what of their turns.
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

/** An app with actors of the type `Cat` that says itself how it is; `slow` calls are answered when `release` is called. */
async function cats(config: object = {}, isWell = true) {
  const health = { status: isWell ? 200 : 503 };
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const app = keep(
    await fakeApp({
      config: { entities: ["Cat"], ...config },
      handlers: { "GET /alive": () => health },
      otherwise: async ({ target }) => {
        if (target.endsWith("/method/slow")) await released;
        return {};
      },
    }),
  );
  /** Which actors have got such a request. */
  const ids = (line: RegExp) =>
    app.requests.flatMap(({ method, target }) => line.exec(`${method} ${target}`)?.[1] ?? []);
  return { app, health, release, ids };
}

const appHealth = { path: "/alive", probeIntervalMs: 20, probeTimeoutMs: 1_000, threshold: 1 };
const fed = /^PUT \/actors\/Cat\/(\S+)\/method\/feed$/;
const gone = /^DELETE \/actors\/Cat\/(\S+)$/;
const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

function startBoth(one: FakeApp, two: FakeApp): Promise<TestMecha> {
  const options = { appHealth };
  const apps = [
    { appId: "one", app: one, options },
    { appId: "two", app: two, options },
    { appId: "visitor" },
  ];
  return startMecha({ apps }).then(keep);
}

async function feed(mecha: TestMecha, ids: string[]): Promise<void> {
  const calls = ids.map((id) => mecha.http("visitor", `POST /v1.0/actors/Cat/${id}/method/feed`));
  for (const { status } of await Promise.all(calls)) expect(status).toBe(200);
}

test("the actors of an app that is not well live at others, and come back", async () => {
  const [one, two] = [await cats(), await cats()];
  const mecha = await startBoth(one.app, two.app);
  const all = names("cat", 30);
  const fedAt = async ({ ids }: typeof one): Promise<number> => {
    const before = ids(fed).length;
    await feed(mecha, all);
    return ids(fed).length - before;
  };
  await until(async () => (await fedAt(two)) > 0, "actors at both");
  two.health.status = 503;
  await until(async () => (await fedAt(two)) === 0, "all at the other one");
  expect(await fedAt(one)).toBe(all.length);
  two.health.status = 200;
  await until(async () => (await fedAt(two)) > 0, "actors at both again");
}, 30_000);

for (const [what, drainRebalancedActors, drainOngoingCallTimeout] of [
  ["waits for its turn", true, "20s"],
  ["waits for its turn so long and no longer", true, "300ms"],
  ["does not wait for its turn", false, "20s"],
] as const) {
  const waits = drainRebalancedActors && drainOngoingCallTimeout === "20s";
  test(`an actor that has to move ${what} (${drainRebalancedActors}, ${drainOngoingCallTimeout})`, async () => {
    const one = await cats({ drainOngoingCallTimeout, drainRebalancedActors });
    const two = await cats({}, false);
    const mecha = await startBoth(one.app, two.app);
    const [idle, busy] = [names("idle", 30), names("busy", 30)];
    await feed(mecha, idle);
    const calls = busy.map((id) => mecha.http("one", `POST /v1.0/actors/Cat/${id}/method/slow`));
    await until(() => one.ids(/\/Cat\/(busy\d+)\/method\/slow$/).length === busy.length, "all turns run");
    two.health.status = 200;
    const left = (prefix: string) => one.ids(gone).filter((id) => id.startsWith(prefix));
    await until(() => left("idle").length > 3, "idle actors have moved");
    if (waits) {
      expect(left("busy")).toEqual([]);
      one.release();
    }
    await until(() => left("busy").length > 3, "busy actors have moved");
    one.release();
    for (const { status } of await Promise.all(calls)) expect(status).toBe(200);
    await feed(mecha, busy);
    for (const id of left("busy")) expect(two.ids(fed)).toContain(id);
  }, 30_000);
}

test("jobs and reminders of an app that is not well wait until it is", async () => {
  const { app, health, ids } = await cats();
  const mecha = keep(await startMecha({ apps: [{ appId: "one", app, options: { appHealth } }] }));
  const dueMs = Date.now() + 3_000;
  const body = { dueTime: new Date(dueMs).toISOString() };
  const job = await mecha.http("one", "POST /v1.0-alpha1/jobs/wash", { body });
  await mecha.http("one", "POST /v1.0/actors/Cat/tom/method/feed");
  const reminder = await mecha.http("one", "POST /v1.0/actors/Cat/tom/reminders/nap", { body });
  expect([job.status, reminder.status]).toEqual([204, 204]);
  health.status = 503;
  await until(() => mecha.log().includes("App entered un-healthy status"), "the app is known to be unwell");
  expect(Date.now()).toBeLessThan(dueMs);
  const came = () => [ids(/^POST \/job\/(\S+)$/), ids(/^PUT \/actors\/Cat\/tom\/method\/remind\/(\S+)$/)];
  await until(() => Date.now() > dueMs + 500, "both are due");
  expect(came()).toEqual([[], []]);
  health.status = 200;
  await until(() => came().every((each) => each.length === 1), "the job and the reminder come");
}, 30_000);
