import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { StringValueSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createGrpcClient } from "../../src/net/grpc/index.ts";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import {
  GetInstanceHistoryRequestSchema,
  GetInstanceHistoryResponseSchema,
  type HistoryEvent,
  HistoryEventSchema,
  ListInstanceIDsRequestSchema,
  ListInstanceIDsResponseSchema,
  OrchestrationStatus,
} from "../../src/wire/orchestrator_service_pb.js";
import { child, complete, count, type Script, ScriptedWorker, schedule } from "./workflow-fixture.ts";

const closers: (() => Promise<void> | void)[] = [];
let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mecha-workflow-home-"));
  file = join(folder, "state.db");
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

type Items = Record<string, string>;

function component(type: string, items: Items = {}): string {
  const metadata = Object.entries({ actorStateStore: "true", ...items });
  return `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: mine }
spec:
  type: ${type}
  version: v1
  metadata: [${metadata.map(([name, value]) => `{ name: ${name}, value: "${value}" }`).join(", ")}]
`;
}

const sqlite = (items: Items = {}): string => component("state.sqlite", { connectionString: file, ...items });

async function start(options: Partial<Parameters<typeof startMecha>[0]> = {}): Promise<TestMecha> {
  const mecha = await startMecha({ apps: [{ appId: "app" }], ...options });
  closers.push(() => mecha.stop());
  return mecha;
}

async function work(mecha: TestMecha, script: Script, appId = "app"): Promise<ScriptedWorker> {
  const worker = new ScriptedWorker(mecha.ports(appId).grpc, script);
  closers.push(() => {
    worker.leave();
    worker.close();
  });
  const metadata = async () =>
    (await mecha.http(appId, "GET /v1.0/metadata")).json() as { workflows?: { connectedWorkers?: number } };
  await until(async () => ((await metadata()).workflows?.connectedWorkers ?? 0) > 0, "a worker");
  return worker;
}

interface State {
  runtimeStatus: string;
  workflowName: string;
  properties: Record<string, string>;
}

async function stateOf(mecha: TestMecha, id: string, appId = "app"): Promise<State> {
  return (await mecha.http(appId, `GET /v1.0/workflows/dapr/${id}`)).json() as State;
}

async function ended(mecha: TestMecha, id: string, status = "COMPLETED"): Promise<State> {
  await until(async () => (await stateOf(mecha, id)).runtimeStatus === status, `${id} to be ${status}`);
  return stateOf(mecha, id);
}

async function ask(mecha: TestMecha, method: string, request: Uint8Array): Promise<Uint8Array> {
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("app").grpc });
  try {
    return await client.unary(`/TaskHubSidecarService/${method}`, request);
  } finally {
    client.close();
  }
}

async function idsOf(mecha: TestMecha): Promise<string[]> {
  const request = toBinary(ListInstanceIDsRequestSchema, create(ListInstanceIDsRequestSchema));
  return fromBinary(ListInstanceIDsResponseSchema, await ask(mecha, "ListInstanceIDs", request)).instanceIds;
}

/** Waits until the instance has stored what its child ended with: nothing is on its way to it then. */
function heardOfChild(mecha: TestMecha, instanceId: string): Promise<void> {
  const asked = create(GetInstanceHistoryRequestSchema, { instanceId });
  const request = toBinary(GetInstanceHistoryRequestSchema, asked);
  return until(async () => {
    const reply = await ask(mecha, "GetInstanceHistory", request);
    const { events } = fromBinary(GetInstanceHistoryResponseSchema, reply);
    return count(events, "childWorkflowInstanceCompleted") > 0;
  }, `${instanceId} to have heard of its child`);
}

const begin = (mecha: TestMecha, id: string, body = "1") =>
  mecha.http("app", `POST /v1.0/workflows/dapr/wf/start?instanceID=${id}`, { body });
const post = (mecha: TestMecha, rest: string) => mecha.http("app", `POST /v1.0/workflows/dapr/${rest}`);

/** Two steps, a child, an event, and the end. */
const story: Script = {
  workflow: (events, { instanceId }) => {
    if (instanceId.startsWith("kid")) return [complete(1, '"kid"')];
    if (count(events, "eventRaised") > 0) return [complete(4, '"done"')];
    if (count(events, "childWorkflowInstanceCompleted") > 0) return [];
    if (count(events, "taskCompleted") === 2) return [child(3, "kid", { instanceId: `kid-${instanceId}` })];
    if (count(events, "taskScheduled") > count(events, "taskCompleted")) return [];
    return [schedule(count(events, "taskCompleted") + 1, "step")];
  },
  activity: () => '"ok"',
};

interface Row {
  key: string;
  value: Uint8Array;
}

/** What lies in the file, keys without what all keys of an instance begin with. */
function rowsOf(instanceId: string, appId = "app"): Map<string, Uint8Array> {
  const db = new Database(file, { readonly: true });
  const prefix = `${appId}||dapr.internal.default.${appId}.workflow||${instanceId}||`;
  const select = db.query<{ key: string; value: string; is_binary: number }, [number, string]>(
    "SELECT key, value, is_binary FROM state WHERE substr(key, 1, ?) = ? ORDER BY key",
  );
  const rows = select.all(prefix.length, prefix).map((row): Row => {
    expect(row.is_binary).toBe(1);
    return { key: row.key.slice(prefix.length), value: Buffer.from(row.value, "base64") };
  });
  db.close();
  return new Map(rows.map(({ key, value }) => [key, value]));
}

/** The numbers of Dapr's metadata message: inbox, history, generation. */
function numbersOf(metadata: Uint8Array | undefined): Record<number, number> {
  const reader = new BinaryReader(metadata ?? new Uint8Array(0));
  const numbers: Record<number, number> = {};
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (no <= 6) numbers[no] = Number(reader.uint64());
    else reader.skip(type, no);
  }
  return numbers;
}

const historyIn = (rows: Map<string, Uint8Array>): HistoryEvent[] =>
  [...rows].flatMap(([key, value]) =>
    key.startsWith("history-") ? [fromBinary(HistoryEventSchema, value)] : [],
  );

for (const type of ["state.sqlite", "state.in-memory"]) {
  test(`workflows live, end and are purged in ${type}`, async () => {
    const resources = type === "state.sqlite" ? sqlite() : component(type);
    const mecha = await start({ resources });
    const worker = await work(mecha, story);
    expect((await begin(mecha, "a")).status).toBe(202);
    await until(async () => (await stateOf(mecha, "kid-a")).runtimeStatus === "COMPLETED", "the child");
    expect((await begin(mecha, "a")).status).toBe(500);
    expect((await post(mecha, "a/pause")).status).toBe(202);
    expect((await stateOf(mecha, "a")).runtimeStatus).toBe("SUSPENDED");
    expect((await post(mecha, "a/resume")).status).toBe(202);
    expect((await post(mecha, "a/purge")).status).not.toBe(202);
    await post(mecha, "a/raiseEvent/go");
    expect((await ended(mecha, "a")).properties).toMatchObject({
      "dapr.workflow.input": "1",
      "dapr.workflow.output": '"done"',
    });
    expect(worker.activities.length).toBe(2);
    // The id again, in place of the finished one.
    const before = worker.requests.length;
    await begin(mecha, "a", "2");
    const hasChild = () =>
      worker.requests
        .slice(before)
        .some(({ newEvents }) => count(newEvents, "childWorkflowInstanceCompleted") > 0);
    await until(hasChild, "the child of the second execution");
    expect(worker.activities.length).toBe(4);
    await post(mecha, "a/terminate");
    await ended(mecha, "a", "TERMINATED");
    expect((await stateOf(mecha, "a")).properties["dapr.workflow.input"]).toBe("2");
    expect((await post(mecha, "a/purge")).status).toBe(202);
    expect((await mecha.http("app", "GET /v1.0/workflows/dapr/a")).status).toBe(404);
    expect((await mecha.http("app", "GET /v1.0/workflows/dapr/kid-a")).status).toBe(404);
  }, 60_000);
}

test("the rows are Dapr's", async () => {
  const mecha = await start({ resources: sqlite({ keyPrefix: "none" }) });
  await work(mecha, story);
  await begin(mecha, "a");
  await until(async () => (await stateOf(mecha, "kid-a")).runtimeStatus === "COMPLETED", "the child");
  await post(mecha, "a/raiseEvent/go");
  await ended(mecha, "a");
  const rows = rowsOf("a");
  const events = historyIn(rows);
  const names = events.map((_, index) => `history-${String(index).padStart(6, "0")}`);
  expect([...rows.keys()]).toEqual(["customStatus", ...names, "metadata"]);
  expect(numbersOf(rows.get("metadata"))).toEqual({ 2: events.length, 3: 1 });
  expect(fromBinary(StringValueSchema, rows.get("customStatus") ?? new Uint8Array(0)).value).toBe("");
  expect(events.slice(0, 3).map(({ eventType }) => eventType.case)).toEqual([
    "workflowStarted",
    "executionStarted",
    "taskScheduled",
  ]);
  expect(events.at(-1)?.eventType.case).toBe("executionCompleted");
  await post(mecha, "a/purge");
  expect([rowsOf("a").size, rowsOf("kid-a").size]).toEqual([0, 0]);
}, 30_000);

test("a restart goes on with what is in the store", async () => {
  const mecha = await start({ resources: sqlite() });
  const first = await work(mecha, story);
  await begin(mecha, "a");
  await until(() => rowsOf("a").size > 5 && first.activities.length === 2, "the steps");
  await mecha.restart();
  await work(mecha, story);
  await post(mecha, "a/raiseEvent/go");
  await ended(mecha, "a");
  const scheduled = historyIn(rowsOf("a")).filter(({ eventType }) => eventType.case === "taskScheduled");
  expect(scheduled.length).toBe(2);
  expect(first.activities.length).toBe(2);
}, 30_000);

test("workflows of the engine's store move with their next turn, and are refused when the store is gone", async () => {
  const options: Parameters<typeof startMecha>[0] = { apps: [{ appId: "app" }] };
  const mecha = await startMecha(options);
  closers.push(() => mecha.stop());
  await work(mecha, story);
  await begin(mecha, "a");
  await heardOfChild(mecha, "a");
  options.resources = sqlite();
  await mecha.restart();
  await work(mecha, story);
  expect((await stateOf(mecha, "a")).runtimeStatus).toBe("RUNNING");
  expect(rowsOf("a").size).toBe(0);
  await post(mecha, "a/raiseEvent/go");
  await ended(mecha, "a");
  expect(numbersOf(rowsOf("a").get("metadata"))[2]).toBe(historyIn(rowsOf("a")).length);
  expect(count(historyIn(rowsOf("a")), "taskCompleted")).toBe(2);
  options.resources = "";
  await mecha.restart();
  const refused = await post(mecha, "a/purge");
  expect(refused.text).toContain("kept in the state store mine, which is not the actor state store now");
  expect(rowsOf("a").size).toBeGreaterThan(0);
}, 60_000);

test("workflows outlive the loss of mecha's own store", async () => {
  const lost = await startMecha({ apps: [{ appId: "app" }], resources: sqlite() });
  const silent = new ScriptedWorker(lost.ports("app").grpc, {
    workflow: story.workflow,
    activity: ({ taskId }) => (taskId === 1 ? '"ok"' : new Promise(() => undefined)),
  });
  await lost.http("app", "POST /v1.0/workflows/dapr/wf/start?instanceID=a", { body: "1" });
  await until(() => silent.activities.length === 2, "the second step to run");
  silent.leave();
  silent.close();
  await lost.stop();
  // Its data are gone with it: another folder, the same state store.
  const mecha = await start({ resources: sqlite() });
  const worker = await work(mecha, story);
  expect((await stateOf(mecha, "a")).runtimeStatus).toBe("RUNNING");
  expect((await begin(mecha, "a")).status).toBe(500);
  expect(worker.activities.length).toBe(0);
  await until(async () => (await idsOf(mecha)).includes("a"), "the list to have it");
  await post(mecha, "a/resume");
  await until(async () => (await stateOf(mecha, "kid-a")).runtimeStatus === "COMPLETED", "the child");
  await post(mecha, "a/raiseEvent/go");
  expect((await ended(mecha, "a")).properties["dapr.workflow.input"]).toBe("1");
  // The step with a result did not run again.
  expect(worker.activities.map(({ taskId }) => taskId)).toEqual([2]);
}, 30_000);

test("the store can not be changed under way", async () => {
  const resources = join(folder, "resources");
  const resource = join(resources, "home.yaml");
  mkdirSync(resources);
  writeFileSync(resource, sqlite());
  const options = { resourcesPaths: [resources] };
  const mecha = await start({ apps: [{ appId: "app", options }] });
  await work(mecha, story);
  await begin(mecha, "a");
  writeFileSync(resource, sqlite({ connectionString: join(folder, "other.db") }));
  await until(() => mecha.log().includes("Aborting to hot-reload a state store component"), "the refusal");
  rmSync(resource);
  await post(mecha, "a/raiseEvent/go");
  await ended(mecha, "a");
  expect(historyIn(rowsOf("a")).at(-1)?.eventType.case).toBe("executionCompleted");
}, 30_000);

test("values are encrypted when the component says so", async () => {
  const mecha = await start({ resources: sqlite({ primaryEncryptionKey: "00".repeat(32) }) });
  await work(mecha, { workflow: () => [complete(1, '"an open secret"')] });
  await begin(mecha, "a");
  expect((await ended(mecha, "a")).properties["dapr.workflow.output"]).toBe('"an open secret"');
  const values = [...rowsOf("a").values()].map((value) => Buffer.from(value).toString("latin1"));
  expect(values.length).toBeGreaterThan(3);
  for (const value of values) expect(value).toMatch(/^[A-Za-z0-9+/=]+\|\|[0-9a-f]{16}$/);
}, 30_000);

test("an app's children in another app's store end and are purged there", async () => {
  const mecha = await start({ apps: [{ appId: "app" }, { appId: "other" }], resources: sqlite() });
  await work(mecha, {
    workflow: (events) => {
      if (count(events, "childWorkflowInstanceCompleted") > 0) return [complete(2, '"both"')];
      return [child(1, "kid", { instanceId: "kid", app: "other" })];
    },
  });
  await work(mecha, { workflow: () => [complete(1, '"kid"')] }, "other");
  await begin(mecha, "a");
  await ended(mecha, "a");
  expect(rowsOf("kid", "other").size).toBeGreaterThan(3);
  expect((await post(mecha, "a/purge")).status).toBe(202);
  await until(() => rowsOf("kid", "other").size === 0, "the child to be purged by its own runtime");
}, 30_000);

test("finished workflows are purged when their time is over", async () => {
  const config = join(folder, "config.yaml");
  const retention = `
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: { name: brief }
spec: { workflow: { stateRetentionPolicy: { completed: 1s } } }
`;
  writeFileSync(config, retention);
  const apps = [{ appId: "app", options: { configPaths: [config] } }];
  const mecha = await start({ apps, resources: sqlite() });
  await work(mecha, { workflow: () => [complete(1, '"done"')] });
  await begin(mecha, "a");
  await until(() => rowsOf("a").size > 3, "the rows");
  await until(() => rowsOf("a").size === 0, "the rows to go");
  expect((await mecha.http("app", "GET /v1.0/workflows/dapr/a")).status).toBe(404);
}, 30_000);

const at = timestampFromMs(Date.UTC(2026, 0, 1));
type EventType = HistoryEvent["eventType"];

function eventBytes(eventType: Partial<EventType> & object, eventId = -1): Uint8Array {
  const made = create(HistoryEventSchema, { eventId, timestamp: at, eventType: eventType as never });
  return toBinary(HistoryEventSchema, made);
}

/** The rows that daprd writes: nothing of mecha's is in them. */
function writeAsDaprd(instanceId: string, history: Uint8Array[], inbox: Uint8Array[]): void {
  const db = new Database(file, { create: true });
  db.run("CREATE TABLE IF NOT EXISTS metadata (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)");
  db.run(`CREATE TABLE IF NOT EXISTS state (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL,
    is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL,
    update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)`);
  const insert = db.query("INSERT INTO state (key, value, is_binary, etag) VALUES (?, ?, 1, ?)");
  const put = (name: string, value: Uint8Array): void => {
    const key = `app||dapr.internal.default.app.workflow||${instanceId}||${name}`;
    insert.run(key, Buffer.from(value).toString("base64"), crypto.randomUUID());
  };
  const six = (index: number): string => String(index).padStart(6, "0");
  for (const [index, bytes] of history.entries()) put(`history-${six(index)}`, bytes);
  for (const [index, bytes] of inbox.entries()) put(`inbox-${six(index)}`, bytes);
  const metadata = new BinaryWriter().tag(1, 0).uint64(inbox.length).tag(2, 0).uint64(history.length);
  put("metadata", metadata.tag(3, 0).uint64(1).finish());
  put("customStatus", toBinary(StringValueSchema, create(StringValueSchema, { value: "half way" })));
  db.close();
}

test("what daprd has left in the store is shown and goes on", async () => {
  const started = eventBytes({
    case: "executionStarted",
    value: { name: "wf", input: "7", workflowInstance: { instanceId: "old", executionId: "e1" } } as never,
  });
  const first = { name: "step", input: '"first"' } as never;
  const second = { name: "step", input: '"second"' } as never;
  const done = { case: "taskCompleted", value: { taskScheduledId: 1, result: '"ok"' } as never } as const;
  writeAsDaprd(
    "old",
    [
      eventBytes({ case: "workflowStarted", value: {} as never }),
      started,
      eventBytes({ case: "taskScheduled", value: first }, 1),
      eventBytes({ case: "workflowStarted", value: {} as never }),
      eventBytes(done),
      eventBytes({ case: "taskScheduled", value: second }, 2),
    ],
    [eventBytes({ case: "eventRaised", value: { name: "go" } as never })],
  );
  writeAsDaprd("pending", [], [started]);
  writeAsDaprd(
    "finished",
    [
      started,
      eventBytes({
        case: "executionCompleted",
        value: { workflowStatus: OrchestrationStatus.COMPLETED, result: '"then"' } as never,
      }),
    ],
    [],
  );
  const mecha = await start({ resources: sqlite() });
  expect(await stateOf(mecha, "old")).toMatchObject({
    runtimeStatus: "RUNNING",
    workflowName: "wf",
    properties: { "dapr.workflow.custom_status": "half way" },
  });
  expect((await stateOf(mecha, "finished")).properties["dapr.workflow.output"]).toBe('"then"');
  const worker = await work(mecha, {
    workflow: (events, { instanceId }) => {
      if (instanceId === "pending") return [complete(1, '"pending"')];
      const isDone = count(events, "taskCompleted") === 2 && count(events, "eventRaised") === 1;
      return isDone ? [complete(3, '"old"')] : [];
    },
    activity: ({ input }) => input,
  });
  expect((await ended(mecha, "old")).properties["dapr.workflow.output"]).toBe('"old"');
  expect((await ended(mecha, "pending")).properties["dapr.workflow.output"]).toBe('"pending"');
  // The step with a result did not run again.
  expect(worker.activities.map(({ input }) => input)).toEqual(['"second"']);
  const rows = rowsOf("old");
  expect([...rows.keys()].filter((key) => key.startsWith("inbox"))).toEqual([]);
  expect(numbersOf(rows.get("metadata"))).toEqual({ 2: historyIn(rows).length, 3: 1 });
  expect((await post(mecha, "finished/purge")).status).toBe(202);
  expect(rowsOf("finished").size).toBe(0);
}, 30_000);
