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

test("a job comes at its time with its data, not before, and is gone then", async () => {
  const arrivals: number[] = [];
  const app = keep(await fakeApp({ handlers: { "POST /job/report": () => void arrivals.push(Date.now()) } }));
  const mecha = keep(await startMecha({ apps: [{ appId: "a", app }] }));
  const askedAt = Date.now();
  for (const [name, dueTime] of Object.entries({ report: "300ms", later: "1h" })) {
    const body = { dueTime, data: { pages: [1, "two"] } };
    expect((await mecha.http("a", `POST /v1.0/jobs/${name}`, { body })).status).toBe(204);
  }
  expect((await mecha.http("a", "GET /v1.0-alpha1/jobs/later")).json()).toEqual({
    name: "later",
    dueTime: "1h",
    data: { pages: [1, "two"] },
  });
  await until(() => arrivals.length === 1, "the job to come");
  expect(arrivals[0]).toBeGreaterThanOrEqual(askedAt + 300);
  expect(app.requests[0]?.json()).toEqual({ pages: [1, "two"] });
  expect(app.requests[0]?.header("content-type")).toBe("application/json");
  await until(
    async () => (await mecha.http("a", "GET /v1.0/jobs/report")).status === 500,
    "the job to be gone",
  );
  const absent = await mecha.http("a", "GET /v1.0/jobs/report");
  expect(absent.json()).toMatchObject({
    errorCode: "DAPR_SCHEDULER_GET_JOB",
    message: "failed to get job due to: rpc error: code = NotFound desc = job not found: report",
  });
});

test("a schedule repeats as often as asked, first at its due time", async () => {
  const app = keep(await fakeApp({ handlers: { "POST /job/tick": () => ({}) } }));
  const mecha = keep(await startMecha({ apps: [{ appId: "a", app }] }));
  await mecha.http("a", "POST /v1.0/jobs/tick", {
    body: { schedule: "@every 50ms", dueTime: "1ms", repeats: 3 },
  });
  await until(() => app.requests.length === 3, "three ticks");
  await until(async () => (await mecha.http("a", "GET /v1.0/jobs/tick")).status === 500, "the end");
  expect(app.requests).toHaveLength(3);
});

test("a failed delivery is tried again as the policy says", async () => {
  const handlers = {
    "POST /job/dropped": () => ({ status: 500 }),
    "POST /job/tried": () => ({ status: 500 }),
    "POST /job/again": () => ({ status: app.requests.length % 2 === 0 ? 200 : 503 }),
  };
  const app: FakeApp = keep(await fakeApp({ handlers }));
  const mecha = keep(await startMecha({ apps: [{ appId: "a", app }] }));
  const counts = () =>
    app.requests.reduce<Record<string, number>>((all, { target }) => {
      all[target] = (all[target] ?? 0) + 1;
      return all;
    }, {});
  const gone = (name: string) =>
    until(async () => (await mecha.http("a", `GET /v1.0/jobs/${name}`)).status === 500, `${name} to be over`);
  await mecha.http("a", "POST /v1.0/jobs/dropped", { body: { dueTime: "1ms", failurePolicy: { drop: {} } } });
  await gone("dropped");
  await mecha.http("a", "POST /v1.0/jobs/tried", {
    body: { dueTime: "1ms", failurePolicy: { constant: { interval: "10ms", maxRetries: 2 } } },
  });
  await gone("tried");
  await mecha.http("a", "POST /v1.0/jobs/unknown", { body: { dueTime: "1ms" } });
  await gone("unknown");
  expect(counts()).toEqual({ "/job/dropped": 1, "/job/tried": 3, "/job/unknown": 1 });
});

test("jobs wait while the app is away, through a restart, and then come", async () => {
  const first = await fakeApp({ handlers: { "POST /job/late": () => ({}) } });
  const { port } = first;
  const mecha = keep(await startMecha({ apps: [{ appId: "a", app: port }] }));
  await first.close();
  await mecha.http("a", "POST /v1.0/jobs/late", { body: { dueTime: "1ms", data: "x" } });
  await until(() => mecha.log().includes("its jobs wait"), "a try in vain");
  const back = keep(await fakeApp({ port, handlers: { "POST /job/late": () => ({}) } }));
  await mecha.restart();
  await until(() => back.requests.length === 1, "the job to come after all", 20_000);
});

test("what can not be is refused in Dapr's words", async () => {
  const mecha = keep(await startMecha({ apps: [{ appId: "a" }] }));
  const refused = async (body: object, name = "j") => {
    const answer = await mecha.http("a", `POST /v1.0/jobs/${name}`, { body });
    const { errorCode, message } = answer.json() as { errorCode: string; message: string };
    return `${answer.status} ${errorCode} ${message}`;
  };
  expect(await refused({ name: "j", dueTime: "1s" })).toBe(
    "400 DAPR_SCHEDULER_JOB_NAME Set the job name in the url only",
  );
  expect(await refused({})).toBe("400 DAPR_SCHEDULER_SCHEDULE_EMPTY Schedule is empty");
  for (const body of [
    { schedule: "* * * * *" },
    { schedule: "TZ=Mars/Olympus 0 0 0 * * *" },
    { schedule: "@sometimes" },
    { dueTime: "soon" },
    { dueTime: "1s", ttl: "5s" },
    { schedule: "@daily", repeats: 0 },
    { dueTime: "1s", repeats: 2 },
    { schedule: "@daily", dueTime: "10s", ttl: "5s" },
  ]) {
    expect(await refused(body)).toStartWith(
      "400 DAPR_SCHEDULER_SCHEDULE_JOB failed to schedule job due to: ",
    );
  }
  expect((await mecha.http("a", "POST /v1.0/jobs/j", { body: { schedule: "@daily" } })).status).toBe(204);
  expect(await refused({ schedule: "@hourly" })).toStartWith("409 DAPR_SCHEDULER_SCHEDULE_JOB ");
  const over = await mecha.http("a", "POST /v1.0/jobs/j", { body: { schedule: "@hourly", overwrite: true } });
  expect(over.status).toBe(204);
  expect((await mecha.http("a", "GET /v1.0/jobs/j")).json()).toEqual({ name: "j", schedule: "@hourly" });
  expect((await mecha.http("a", "DELETE /v1.0/jobs/j")).status).toBe(204);
  expect((await mecha.http("a", "DELETE /v1.0/jobs/j")).status).toBe(204);
});
