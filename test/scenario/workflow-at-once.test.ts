import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Clock, realClock } from "../../src/edges/clock.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { SimulatedClock } from "../../src/edges/simulated.ts";
import { openStore } from "../../src/engine/store/open.ts";
import type { Mutation } from "../../src/engine/store/store.ts";
import { createWorkflowEngine, type WorkflowEngine } from "../../src/engine/workflow/engine.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";
import { until } from "../../src/testing/index.ts";
import { testStore } from "../../src/testing/test-store.ts";
import {
  ActivityResponseSchema,
  OrchestrationStatus,
  type WorkflowRequest,
  WorkflowResponseSchema,
  WorkItemSchema,
} from "../../src/wire/orchestrator_service_pb.js";
import { quietLog } from "./invoke-fixture.ts";
import { complete, count, schedule } from "./workflow-fixture.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Made = (readonly Mutation[])[];

/** An engine, a worker of three activities in a chain, and what is committed to the store. */
async function start(
  thinkMs: number,
  hold?: (mutations: readonly Mutation[], made: Made) => Promise<void>,
  clock: Clock = realClock,
) {
  const folder = mkdtempSync(join(tmpdir(), "mecha-at-once-"));
  closers.push(() => rmSync(folder, { recursive: true }));
  const store = await openStore({ address: testStore(folder), folder });
  closers.push(() => store.close());
  const commits: Made = [];
  const counted = new Proxy(store, {
    get(target, name) {
      if (name !== "commit") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (mutations: readonly Mutation[]) => {
        await hold?.(mutations, commits);
        const outcomes = await target.commit(mutations);
        commits.push(mutations);
        return outcomes;
      };
    },
  });
  const engine = createWorkflowEngine({
    app: { namespace: "default", appId: "app" },
    store: counted,
    edges: { ...realEdges(), clock },
    telemetry: {
      log: quietLog,
      metrics: createMetrics(),
      tracer: createTracer(0, undefined),
    },
    messageBytesMax: 4 << 20,
    limits: () => ({}),
    access: () => undefined,
  });
  engine.start();
  closers.push(() => engine.close());
  const runs: number[] = [];
  void engine.serve(
    { itemsMax: 10, send: async (item) => void serve(engine, item, thinkMs, runs) },
    new AbortController().signal,
  );
  await until(() => engine.connectedWorkers === 1, "the worker");
  return { engine, commits, runs };
}

async function serve(engine: WorkflowEngine, item: object, thinkMs: number, runs: number[]): Promise<void> {
  const bytes = toBinary(WorkItemSchema, Object.assign(create(WorkItemSchema), item));
  const { request, completionToken } = fromBinary(WorkItemSchema, bytes);
  if (request.case === "activityRequest") {
    const { workflowInstance, taskId } = request.value;
    runs.push(taskId);
    const instanceId = workflowInstance?.instanceId ?? "";
    engine.completeActivity(
      create(ActivityResponseSchema, { instanceId, taskId, completionToken, result: "1" }),
    );
  } else if (request.case === "workflowRequest") {
    await Bun.sleep(thinkMs);
    const { instanceId } = request.value;
    engine.completeWorkflow(
      create(WorkflowResponseSchema, { instanceId, completionToken, actions: next(request.value) }),
    );
  }
}

function next({ pastEvents, newEvents }: WorkflowRequest) {
  const begun = newEvents.find(({ eventType }) => eventType.case === "executionStarted")?.eventType;
  if (begun?.case === "executionStarted" && begun.value.name === "spin" && begun.value.input !== "2") {
    const value = { workflowStatus: OrchestrationStatus.CONTINUED_AS_NEW, result: "2" };
    return [{ id: 1, workflowActionType: { case: "completeWorkflow" as const, value } }];
  }
  const done = count([...pastEvents, ...newEvents], "taskCompleted");
  return [done === 3 ? complete(done, '"end"') : schedule(done, "step")];
}

const request = { instanceId: "one", name: "chain", input: "7" };

test("a chain of three activities is four commits: each result is stored with the turn it leads to", async () => {
  // A clock that stands still: the engine's patience with a turn does not end on a busy machine.
  const { engine, commits, runs } = await start(0, undefined, new SimulatedClock());
  const signal = AbortSignal.timeout(20_000);
  await engine.instances.start(request, signal);
  const { record } = await engine.instances.waitForEnd("one", false, signal);
  expect(record.status).toBe(OrchestrationStatus.COMPLETED);
  expect(runs).toEqual([0, 1, 2]);
  expect(commits).toHaveLength(4);
  expect((await engine.instances.get("one", { input: true }))?.input).toBe("7");
});

test("a turn that takes its time lets the result be stored before it, and no step runs twice", async () => {
  const { engine, commits, runs } = await start(120);
  const signal = AbortSignal.timeout(20_000);
  await engine.instances.start(request, signal);
  const { record } = await engine.instances.waitForEnd("one", false, signal);
  expect(record.status).toBe(OrchestrationStatus.COMPLETED);
  expect(runs).toEqual([0, 1, 2]);
  const stored = commits.flat().filter(({ kind }) => kind === "append");
  // The start, three activities and three results.
  expect(stored).toHaveLength(7);
  const history = await engine.instances.history("one");
  expect(history.length).toBeGreaterThan(8);
});

test("a start whose turn was stored after all, and has gone on as a new execution, is no second start", async () => {
  let asked = 0;
  // The turn takes longer than its patience, so the start alone is the first to be asked for; the turn's commit overtakes it.
  const { engine } = await start(120, async (_, made) => {
    if (asked++ === 0) await until(() => made.length > 0, "the turn's commit");
  });
  const signal = AbortSignal.timeout(20_000);
  expect(await engine.instances.start({ ...request, name: "spin", input: "1" }, signal)).toBe("one");
  const { record } = await engine.instances.waitForEnd("one", false, signal);
  expect(record.status).toBe(OrchestrationStatus.COMPLETED);
});
