import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { realEdges } from "../../src/edges/edges.ts";
import { seededRandom } from "../../src/edges/simulated.ts";
import { recordedTelemetry } from "../../src/engine/pubsub/fixture-parts.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { createWorkflowEngine, type WorkflowEngine } from "../../src/engine/workflow/engine.ts";
import { InstanceRows } from "../../src/engine/workflow/instance-rows.ts";
import type { RawWorkItem } from "../../src/engine/workflow/work-item.ts";
import { until } from "../../src/testing/index.ts";
import {
  type ActivityRequest,
  ActivityRequestSchema,
  ActivityResponseSchema,
  type HistoryEvent,
  HistoryEventSchema,
  OrchestrationStatus as Status,
  type WorkflowRequest,
  WorkflowRequestSchema,
  WorkflowResponseSchema,
} from "../../src/wire/orchestrator_service_pb.js";
import { complete, count, schedule } from "../scenario/workflow-fixture.ts";
import { type Failing, FlakyRows, flakyStore } from "./workflow-home/flaky.ts";

// Two runtimes run workflows whose histories are in a state store of the user's, while writes to either store fail,
// before they are done or after. Whatever fails: everything ends, each step has one result, none runs after its result
// is saved, and an event is heard as often as it was sent.

const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const workflows = 40;
const steps = 5;
const app = { namespace: "default", appId: "fuzz" };

interface World {
  rows: InstanceRows;
  faults: string[];
  executions: number;
}

test(`workflows in two failing stores (MECHA_TEST_SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const failing: Failing = { chance: 0.04, next: () => random.next(), count: 0 };
  const folder = await mkdtemp(join(tmpdir(), "mecha-fuzz-home-"));
  const store = await openSqliteStore({ folder, clock: realEdges().clock });
  const instances = new FlakyRows(failing);
  const world: World = { rows: new InstanceRows(instances, app), faults: [], executions: 0 };
  const stop = new AbortController();
  const engines = [0, 1].map(() => engineOn(flakyStore(store, failing), instances));
  for (const engine of engines) work(engine, world, stop.signal);
  const ids = Array.from({ length: workflows }, (_, index) => `w${index}`);
  const sent = new Map<string, { sure: number; perhaps: number }>();
  await Promise.all(ids.map((id, index) => run(engines[index % 2] as WorkflowEngine, id, sent)));
  await until(() => everybody(engines[0] as WorkflowEngine, ids), "all workflows to end", 60_000);
  failing.chance = 0;
  for (const id of ids) check(id, (await world.rows.history(id)).map(decoded), sent.get(id), world.faults);
  console.log(`seed ${seed}: ${failing.count} failures, ${world.executions} executions`);
  stop.abort();
  for (const engine of engines) await engine.close();
  await store.close();
  await rm(folder, { recursive: true, force: true });
  expect(world.faults).toEqual([]);
  expect(failing.count).toBeGreaterThan(20);
}, 120_000);

function engineOn(store: Store, instanceStore: FlakyRows): WorkflowEngine {
  const engine = createWorkflowEngine({
    app,
    store,
    edges: realEdges(),
    telemetry: recordedTelemetry(),
    messageBytesMax: 4 << 20,
    limits: () => ({}),
    access: () => undefined,
    instanceStore,
  });
  engine.start();
  return engine;
}

/** Starts it and sends it two events; what fails may have been done. */
async function run(
  engine: WorkflowEngine,
  instanceId: string,
  sent: Map<string, { sure: number; perhaps: number }>,
): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  for (;;) {
    const failure = await engine.instances
      .start({ instanceId, name: "steps" }, signal)
      .catch((error) => error);
    if (failure === undefined || String(failure).includes("already exists")) break;
  }
  const events = { sure: 0, perhaps: 0 };
  sent.set(instanceId, events);
  while (events.sure < 2) {
    try {
      await engine.instances.raiseEvent(instanceId, "go", undefined);
      events.sure += 1;
    } catch {
      events.perhaps += 1;
    }
  }
}

async function everybody(engine: WorkflowEngine, ids: string[]): Promise<boolean> {
  for (const id of ids) {
    const view = await engine.instances.get(id).catch(() => undefined);
    if (view?.record.status !== Status.COMPLETED) return false;
  }
  return true;
}

/** A worker that takes its items from memory. */
function work(engine: WorkflowEngine, world: World, signal: AbortSignal): void {
  const send = async (item: RawWorkItem): Promise<void> => {
    const [{ no, data } = { no: 0, data: new Uint8Array(0) }] = item.$unknown;
    const bytes = new BinaryReader(data).bytes();
    const token = item.completionToken;
    if (no === 1) setImmediate(() => turn(engine, fromBinary(WorkflowRequestSchema, bytes), token));
    else setImmediate(() => void activity(engine, world, fromBinary(ActivityRequestSchema, bytes), token));
  };
  void engine.serve({ send, itemsMax: 100 }, signal);
}

function turn(engine: WorkflowEngine, request: WorkflowRequest, completionToken: string): void {
  const events = [...request.pastEvents, ...request.newEvents];
  const done = count(events, "taskCompleted");
  const isBusy = count(events, "taskScheduled") > done;
  const next = done < steps ? [schedule(done + 1, "step")] : [];
  const isOver = done === steps && count(events, "eventRaised") >= 2;
  const actions = isBusy ? [] : isOver ? [complete(steps + 1, '"done"')] : next;
  const { instanceId } = request;
  const response = create(WorkflowResponseSchema, { instanceId, completionToken, actions });
  try {
    engine.completeWorkflow(response);
  } catch {
    // Somebody else has it by now.
  }
}

async function activity(
  engine: WorkflowEngine,
  world: World,
  request: ActivityRequest,
  completionToken: string,
): Promise<void> {
  const { taskId } = request;
  const instanceId = request.workflowInstance?.instanceId ?? "";
  world.executions += 1;
  const history = (await world.rows.history(instanceId)).map(decoded);
  const isDone = history.some(
    ({ eventType }) => eventType.case === "taskCompleted" && eventType.value.taskScheduledId === taskId,
  );
  if (isDone) world.faults.push(`${instanceId}: step ${taskId} runs after its result was saved`);
  const response = create(ActivityResponseSchema, {
    instanceId,
    taskId,
    completionToken,
    result: `${taskId}`,
  });
  try {
    engine.completeActivity(response);
  } catch {
    // Somebody else has it by now.
  }
}

function check(
  id: string,
  events: HistoryEvent[],
  sent: { sure: number; perhaps: number } | undefined,
  faults: string[],
): void {
  const results = events.flatMap(({ eventType }) =>
    eventType.case === "taskCompleted" ? [eventType.value.taskScheduledId] : [],
  );
  const wanted = Array.from({ length: steps }, (_, index) => index + 1);
  if (results.join() !== wanted.join()) faults.push(`${id}: results of ${results.join()}`);
  for (const kind of ["executionStarted", "executionCompleted"] as const)
    if (count(events, kind) !== 1) faults.push(`${id}: ${count(events, kind)} times ${kind}`);
  const raised = count(events, "eventRaised");
  const { sure = 0, perhaps = 0 } = sent ?? {};
  // Those that were sent after the end are not heard.
  if (raised > sure + perhaps) faults.push(`${id}: ${raised} events of ${sure} and perhaps ${perhaps}`);
}

function decoded(bytes: Uint8Array): HistoryEvent {
  return fromBinary(HistoryEventSchema, bytes);
}
