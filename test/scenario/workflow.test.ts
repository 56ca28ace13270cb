import { afterEach, expect, test } from "bun:test";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { OrchestrationStatus } from "../../src/wire/orchestrator_service_pb.js";
import {
  type Action,
  child,
  complete,
  count,
  type Script,
  ScriptedWorker,
  schedule,
} from "./workflow-fixture.ts";

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(appIds = ["app"], options: Parameters<typeof startMecha>[0]["apps"][0]["options"] = {}) {
  const mecha = await startMecha({ apps: appIds.map((appId) => ({ appId, options })) });
  closers.push(() => mecha.stop());
  return mecha;
}

async function work(mecha: TestMecha, script: Script, appId = "app"): Promise<ScriptedWorker> {
  const worker = new ScriptedWorker(mecha.ports(appId).grpc, script);
  closers.push(() => {
    worker.leave();
    worker.close();
  });
  await until(async () => (await workersOf(mecha, appId)) > 0, "the worker to be connected");
  return worker;
}

async function workersOf(mecha: TestMecha, appId: string): Promise<number> {
  const { workflows } = (await mecha.http(appId, "GET /v1.0/metadata")).json() as {
    workflows?: { connectedWorkers?: number };
  };
  return workflows?.connectedWorkers ?? 0;
}

interface State {
  runtimeStatus: string;
  properties: Record<string, string>;
}

async function stateOf(mecha: TestMecha, id: string, appId = "app"): Promise<State> {
  return (await mecha.http(appId, `GET /v1.0/workflows/dapr/${id}`)).json() as State;
}

async function ended(mecha: TestMecha, id: string, status = "COMPLETED"): Promise<State> {
  await until(async () => (await stateOf(mecha, id)).runtimeStatus === status, `${id} to be ${status}`);
  return stateOf(mecha, id);
}

const echo: Script = { workflow: () => [complete(1, '"done"')] };
const waiting: Script = {
  workflow: (events) => (count(events, "eventRaised") > 0 ? [complete(1, '"raised"')] : []),
};

test("the HTTP API starts, reads, raises, suspends, resumes, terminates and purges", async () => {
  const mecha = await start();
  await work(mecha, waiting);
  const started = await mecha.http("app", "POST /v1.0-beta1/workflows/dapr/wait/start?instanceID=a", {
    body: "7",
  });
  expect([started.status, started.json()]).toEqual([202, { instanceID: "a" }]);
  expect(await stateOf(mecha, "a")).toMatchObject({
    instanceID: "a",
    workflowName: "wait",
    runtimeStatus: "RUNNING",
    properties: { "dapr.workflow.input": "7" },
  });
  const post = (verb: string) => mecha.http("app", `POST /v1.0/workflows/dapr/a/${verb}`);
  expect((await post("pause")).status).toBe(202);
  expect((await stateOf(mecha, "a")).runtimeStatus).toBe("SUSPENDED");
  expect((await post("resume")).status).toBe(202);
  expect((await post("purge")).json()).toMatchObject({ errorCode: "ERR_PURGE_WORKFLOW" });
  expect((await post("raiseEvent/go")).status).toBe(202);
  expect((await ended(mecha, "a")).properties["dapr.workflow.output"]).toBe('"raised"');
  expect((await post("purge")).status).toBe(202);
  expect((await mecha.http("app", "GET /v1.0/workflows/dapr/a")).status).toBe(404);
  await mecha.http("app", "POST /v1.0/workflows/dapr/wait/start?instanceID=b");
  expect((await mecha.http("app", "POST /v1.0/workflows/dapr/b/terminate")).status).toBe(202);
  expect((await stateOf(mecha, "b")).runtimeStatus).toBe("TERMINATED");
});

test("wrong calls are answered as Dapr does", async () => {
  const mecha = await start();
  await work(mecha, waiting);
  const code = async (line: string): Promise<[number, string]> => {
    const reply = await mecha.http("app", line);
    return [reply.status, (reply.json() as { errorCode: string }).errorCode];
  };
  const begin = (id: string) => code(`POST /v1.0/workflows/dapr/wait/start?instanceID=${id}`);
  expect(await begin("a.b")).toEqual([400, "ERR_INSTANCE_ID_INVALID"]);
  expect(await begin("x".repeat(65))).toEqual([400, "ERR_INSTANCE_ID_TOO_LONG"]);
  await mecha.http("app", "POST /v1.0/workflows/dapr/wait/start?instanceID=a");
  expect(await begin("a")).toEqual([500, "ERR_START_WORKFLOW"]);
  expect(await code("GET /v1.0/workflows/dapr/none")).toEqual([404, "ERR_INSTANCE_ID_NOT_FOUND"]);
  expect(await code("POST /v1.0/workflows/dapr/none/terminate")).toEqual([404, "ERR_INSTANCE_ID_NOT_FOUND"]);
});

test("work of a worker that leaves goes to the next one", async () => {
  const mecha = await start();
  const silent = await work(mecha, { workflow: () => undefined });
  void mecha.http("app", "POST /v1.0/workflows/dapr/echo/start?instanceID=a");
  await until(() => silent.requests.length === 1, "the first worker to have the item");
  await work(mecha, echo);
  silent.leave();
  expect((await ended(mecha, "a")).properties["dapr.workflow.output"]).toBe('"done"');
});

test("without a worker a start is kept, over a restart too", async () => {
  const mecha = await start();
  expect((await mecha.http("app", "POST /v1.0/workflows/dapr/echo/start?instanceID=a")).status).toBe(202);
  expect((await stateOf(mecha, "a")).runtimeStatus).toBe("PENDING");
  await mecha.restart();
  await work(mecha, echo);
  await ended(mecha, "a");
});

test("a second result of a step is dropped, and each turn has all events that wait", async () => {
  const mecha = await start();
  let release: (result: string) => void = () => undefined;
  const held = new Promise<string>((resolve) => {
    release = resolve;
  });
  const worker = await work(mecha, {
    workflow: (events) => {
      if (count(events, "taskCompleted") === 3) return [complete(9, '"all"')];
      return count(events, "taskScheduled") === 0 ? [1, 2, 3].map((id) => schedule(id, "hold")) : [];
    },
    activity: () => held,
  });
  await mecha.http("app", "POST /v1.0/workflows/dapr/fan/start?instanceID=a");
  await until(() => worker.activities.length === 3, "three activities to run");
  release("1");
  await ended(mecha, "a");
  const last = worker.requests.at(-1);
  expect(count([...(last?.pastEvents ?? []), ...(last?.newEvents ?? [])], "taskCompleted")).toBe(3);
});

test("activities and children run in other apps", async () => {
  const mecha = await start(["app", "other"]);
  await work(mecha, {
    workflow: (events) => {
      if (count(events, "childWorkflowInstanceCompleted") > 0) return [complete(3, '"both"')];
      if (count(events, "taskCompleted") > 0) return [child(2, "echo", { instanceId: "c", app: "other" })];
      return [schedule(1, "far", "other")];
    },
  });
  const other = await work(mecha, { workflow: echo.workflow, activity: () => '"far"' }, "other");
  await mecha.http("app", "POST /v1.0/workflows/dapr/cross/start?instanceID=a");
  expect((await ended(mecha, "a")).properties["dapr.workflow.output"]).toBe('"both"');
  expect(other.activities.map(({ name }) => name)).toEqual(["far"]);
  expect((await stateOf(mecha, "c", "other")).runtimeStatus).toBe("COMPLETED");
});

test("a child whose id is taken fails to start", async () => {
  const mecha = await start();
  await work(mecha, {
    workflow: (events, { instanceId }) => {
      if (instanceId === "taken") return [];
      if (count(events, "childWorkflowInstanceFailed") > 0) return [complete(2, '"refused"')];
      return [child(1, "wait", { instanceId: "taken" })];
    },
  });
  await mecha.http("app", "POST /v1.0/workflows/dapr/wait/start?instanceID=taken");
  await mecha.http("app", "POST /v1.0/workflows/dapr/parent/start?instanceID=a");
  expect((await ended(mecha, "a")).properties["dapr.workflow.output"]).toBe('"refused"');
});

test("a workflow whose version no worker has stands still, and can be ended", async () => {
  const mecha = await start();
  const none: Action = { id: 1, workflowActionType: { case: "workflowVersionNotAvailable", value: {} } };
  await work(mecha, { workflow: () => [none] });
  void mecha.http("app", "POST /v1.0/workflows/dapr/old/start?instanceID=a");
  const { properties } = await ended(mecha, "a", "STALLED");
  expect(properties["mecha.workflow.stalled"]).toStartWith("VERSION_NOT_AVAILABLE");
  const terminated = mecha.http("app", "POST /v1.0/workflows/dapr/a/terminate");
  await ended(mecha, "a", "TERMINATED");
  expect((await terminated).status).toBe(202);
}, 30_000);

test("a workflow that stands still goes on with a worker that has its version", async () => {
  const mecha = await start();
  const none: Action = { id: 1, workflowActionType: { case: "workflowVersionNotAvailable", value: {} } };
  const old = await work(mecha, { workflow: () => [none] });
  void mecha.http("app", "POST /v1.0/workflows/dapr/new/start?instanceID=a");
  await ended(mecha, "a", "STALLED");
  old.leave();
  await until(async () => (await workersOf(mecha, "app")) === 0, "the old worker to be gone");
  await work(mecha, echo);
  const { properties } = await ended(mecha, "a");
  expect(properties["mecha.workflow.stalled"]).toBeUndefined();
}, 30_000);

test("patches of the history have to be there still", async () => {
  const mecha = await start();
  let patches = ["one"];
  await work(mecha, {
    workflow: (events) => ({
      actions: count(events, "eventRaised") > 1 ? [complete(1, '"ok"')] : [],
      version: { patches },
    }),
  });
  await mecha.http("app", "POST /v1.0/workflows/dapr/patched/start?instanceID=a");
  patches = [];
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/raiseEvent/go");
  const { properties } = await ended(mecha, "a", "STALLED");
  expect(properties["mecha.workflow.stalled"]).toStartWith("PATCH_MISMATCH");
  patches = ["one", "two"];
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/raiseEvent/go");
  await ended(mecha, "a");
}, 30_000);

test("continue-as-new starts with an empty history and the events that it carries", async () => {
  const mecha = await start();
  const worker = await work(mecha, {
    workflow: (events, { newEvents }) => {
      const input = newEvents.find(({ eventType }) => eventType.case === "executionStarted")?.eventType;
      if (count(events, "eventRaised") === 0) return [];
      if (input?.case === "executionStarted" && input.value.input === "2") return [complete(1, "2")];
      const carryoverEvents = events.filter(({ eventType }) => eventType.case === "eventRaised");
      const value = { workflowStatus: OrchestrationStatus.CONTINUED_AS_NEW, result: "2", carryoverEvents };
      return [{ id: 1, workflowActionType: { case: "completeWorkflow", value } }];
    },
  });
  await mecha.http("app", "POST /v1.0/workflows/dapr/again/start?instanceID=a", { body: "1" });
  await mecha.http("app", "POST /v1.0/workflows/dapr/a/raiseEvent/go");
  const { properties } = await ended(mecha, "a");
  expect([properties["dapr.workflow.input"], properties["dapr.workflow.output"]]).toEqual(["2", "2"]);
  const last = worker.requests.at(-1);
  expect(last?.pastEvents).toEqual([]);
  expect(last?.newEvents.map(({ eventType }) => eventType.case)).toEqual([
    "workflowStarted",
    "executionStarted",
    "eventRaised",
  ]);
});

test("metrics count what ran", async () => {
  const mecha = await start(["app"], { enableMetrics: true, metricsPort: 0 });
  await work(mecha, {
    workflow: (events) => (count(events, "taskCompleted") > 0 ? [complete(2, "1")] : [schedule(1, "step")]),
    activity: () => "1",
  });
  await mecha.http("app", "POST /v1.0/workflows/dapr/metered/start?instanceID=a");
  await ended(mecha, "a");
  const { metrics } = mecha.ports("app") as unknown as { metrics: number };
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  expect(text).toMatch(
    /dapr_runtime_workflow_execution_count\{.*status="success".*workflow_name="metered"\} 1/,
  );
  for (const wanted of [
    /activity_operation_count\{activity_name="step".*status="success"\} 1/,
    /activity_operation_latency_count\{activity_name="step".*\} 1/,
    /scheduling_latency_count\{.*workflow_name="metered"\} 1/,
    /payload_size_ratio_bucket\{.*workflow_name="metered",le="0.1"\} 2/,
    /activity_payload_size_ratio_count\{activity_name="step".*workflow_name="metered"\} 1/,
    /operation_count\{.*operation="create_workflow".*status="success"\} 1/,
  ]) {
    expect(text).toMatch(new RegExp(`dapr_runtime_workflow_${wanted.source}`));
  }
  expect(text).toMatch(/dapr_runtime_workflow_activity_execution_count\{activity_name="step".*"success"\} 1/);
});
