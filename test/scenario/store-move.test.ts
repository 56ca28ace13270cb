import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type FakeApp, fakeApp } from "../../src/testing/index.ts";
import { Cleanup, eventually, freePort, type MechaProcess, mecha, startMecha } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";
import { complete, count, ScriptedWorker, schedule } from "./workflow-fixture.ts";

// One line, MECHA_STORE, moves everything an app has from the embedded store to PostgreSQL and back.

const cleanup = new Cleanup();
let server: Service;

beforeAll(async () => {
  server = await startService("postgresql", { options: { fsync: "off" } });
}, 120_000);
afterEach(() => cleanup.run());
afterAll(() => server.stop(), 60_000);

interface Runtime {
  process: MechaProcess;
  worker: ScriptedWorker;
  call(line: string, body?: unknown): Promise<string>;
  stop(): Promise<void>;
}

async function run(app: FakeApp, folder: string, store: string): Promise<Runtime> {
  const [http, grpc] = [await freePort(), await freePort()];
  const ports = ["--dapr-http-port", `${http}`, "--dapr-grpc-port", `${grpc}`, "--metrics-port", "0"];
  const words = ["--app-id", "shop", "--app-port", `${app.port}`, "--data-dir", folder, ...ports];
  const process = cleanup.process(startMecha(["run", ...words], { env: { MECHA_STORE: store } }));
  await process.printed("dapr initialized");
  const worker = new ScriptedWorker(grpc, {
    workflow: (events) => {
      if (count(events, "eventRaised") > 0) return [complete(2, '"done"')];
      return count(events, "taskScheduled") === 0 ? [schedule(1, "step")] : [];
    },
    activity: () => '"stepped"',
  });
  cleanup.add(() => worker.close());
  await process.printed("workflow worker connected");
  return {
    process,
    worker,
    async call(line, body) {
      const [method = "", path = ""] = line.split(" ");
      const init = body === undefined ? {} : { body: JSON.stringify(body) };
      const headers = { "content-type": "application/json" };
      const reply = await fetch(`http://127.0.0.1:${http}${path}`, { method, headers, ...init });
      if (!reply.ok) throw new Error(`${line} answered ${reply.status}: ${await reply.text()}`);
      return reply.text();
    },
    async stop() {
      worker.close();
      process.child.kill("SIGTERM");
      await process.ended;
    },
  };
}

const paths = (app: FakeApp, part: string) =>
  app.requests.filter(({ target }) => target.includes(part)).length;

test("state, events, reminders, jobs and workflows go on in PostgreSQL, and in the embedded store again", async () => {
  let isAway = true;
  const subscriptions = [{ pubsubname: "pubsub", topic: "orders", route: "/orders" }];
  const app = await fakeApp({
    subscriptions,
    config: () => ({ entities: ["Cat"] }),
    otherwise: () => ({ status: 200 }),
    handlers: { "POST /orders": () => ({ status: isAway ? 503 : 200 }) },
  });
  cleanup.add(() => app.close());
  const [first, last] = [join(cleanup.folder(), "data"), join(cleanup.folder(), "data")];
  const schema = `${server.details.url}?schema=moved`;
  const cat = "/v1.0/actors/Cat/tom";
  const embedded = await run(app, first, "");
  await embedded.call("POST /v1.0/state/statestore", [{ key: "colour", value: "red" }]);
  await embedded.call("POST /v1.0/publish/pubsub/orders", { id: 1 });
  await eventually(() => embedded.call(`POST ${cat}/method/feed`));
  await embedded.call(`POST ${cat}/state`, [
    { operation: "upsert", request: { key: "mood", value: "good" } },
  ]);
  await embedded.call(`POST ${cat}/reminders/wake`, { dueTime: "0s", period: "1s" });
  await embedded.call("POST /v1.0-alpha1/jobs/nightly", { schedule: "@every 1s" });
  await embedded.call("POST /v1.0/workflows/dapr/wf/start?instanceID=w", 1);
  // Until its result is stored a step may be done again.
  await eventually(async () => {
    const told = await mecha(["workflow", "history", "w", "--data-dir", first], { env: {} });
    expect(told.output).toContain('"taskCompleted"');
  });
  expect(embedded.worker.activities.length).toBe(1);
  await embedded.stop();

  // Runtimes that stopped cleanly hold nothing; the copy says so when one still does.
  const copy = async (from: string, to: string) => {
    const copied = await mecha(["store", "copy", "--from", from, "--to", to], { env: { HOME: first } });
    if (copied.code !== 0) throw new Error(copied.output);
  };
  await copy(first, schema);
  isAway = false;
  const before = {
    events: paths(app, "/orders"),
    reminders: paths(app, "/remind/wake"),
    jobs: paths(app, "/job/"),
  };
  const moved = await run(app, join(cleanup.folder(), "data"), schema);
  const goesOn = async (runtime: Runtime, since: typeof before) => {
    expect(await runtime.call("GET /v1.0/state/statestore/colour")).toBe('"red"');
    await eventually(async () => expect(await runtime.call(`GET ${cat}/state/mood`)).toBe('"good"'));
    await eventually(() => {
      expect(paths(app, "/remind/wake")).toBeGreaterThan(since.reminders);
      expect(paths(app, "/job/")).toBeGreaterThan(since.jobs);
    });
  };
  await eventually(() => expect(paths(app, "/orders")).toBeGreaterThan(before.events));
  await goesOn(moved, before);
  expect(await moved.call("GET /v1.0/workflows/dapr/w")).toContain('"RUNNING"');
  await moved.stop();

  await copy(schema, last);
  const since = { ...before, reminders: paths(app, "/remind/wake"), jobs: paths(app, "/job/") };
  const back = await run(app, last, "");
  await goesOn(back, since);
  await back.call("POST /v1.0/workflows/dapr/w/raiseEvent/go", 1);
  await eventually(async () => {
    expect(await back.call("GET /v1.0/workflows/dapr/w")).toContain('"COMPLETED"');
  });
  expect(back.worker.activities.length + moved.worker.activities.length).toBe(0);
  await back.stop();
}, 60_000);
