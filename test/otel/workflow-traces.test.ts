// Spans of workflows, as a real OpenTelemetry collector receives them.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { randomHex } from "../../src/telemetry/propagation.ts";
import { OrchestrationStatus } from "../../src/wire/orchestrator_service_pb.js";
import { Cleanup, eventually } from "../mecha-process.ts";
import { type SidecarProcess, startSidecar } from "../scenario/telemetry-fixture.ts";
import {
  type Action,
  child,
  complete,
  count,
  ScriptedWorker,
  schedule,
} from "../scenario/workflow-fixture.ts";
import { type Collector, type ReceivedSpan, startCollector } from "./collector.ts";

setDefaultTimeout(60_000);
let collector: Collector;
const cleanup = new Cleanup();

beforeAll(async () => {
  collector = await startCollector();
}, 15 * 60_000);
afterAll(async () => {
  await cleanup.run();
  await collector?.close();
});

const kinds = { internal: 1, server: 2, client: 3 };

function exporting(folder: string): Promise<SidecarProcess> {
  const otel = `{ endpointAddress: "127.0.0.1:${collector.grpcPort}", isSecure: false, protocol: grpc }`;
  const configuration = `  tracing:\n    samplingRate: "1"\n    otel: ${otel}\n`;
  return startSidecar(cleanup, { appId: "wf", folder, configuration });
}

/** An activity, a timer and a child; then a pause for an event; then it goes on as new, and ends. */
function work(port: number): ScriptedWorker {
  const worker = new ScriptedWorker(port, {
    workflow(events, { instanceId }) {
      if (instanceId.endsWith("-inner")) return [complete(1, '"inner"')];
      const started = events.find(({ eventType }) => eventType.case === "executionStarted")?.eventType;
      if (started?.case === "executionStarted" && started.value.input === '"again"')
        return [complete(1, '"done"')];
      if (count(events, "eventRaised") > 0) return [again];
      if (count(events, "childWorkflowInstanceCompleted") > 0) return [];
      if (count(events, "timerFired") > 0) return [child(3, "inner", { instanceId: `${instanceId}-inner` })];
      if (count(events, "taskCompleted") > 0) return [timer(2)];
      return [schedule(1, "step")];
    },
    activity: () => "1",
  });
  cleanup.add(() => {
    worker.leave();
    worker.close();
  });
  return worker;
}

const again: Action = {
  id: 9,
  workflowActionType: {
    case: "completeWorkflow",
    value: { workflowStatus: OrchestrationStatus.CONTINUED_AS_NEW, result: '"again"' },
  },
};

function timer(id: number): Action {
  const value = { fireAt: timestampFromMs(Date.now() + 20) };
  return { id, workflowActionType: { case: "createTimer", value } };
}

async function historyHolds(sidecar: SidecarProcess, instanceId: string, status: string): Promise<void> {
  await eventually(async () => {
    const reply = await fetch(sidecar.url(`/v1.0/workflows/dapr/${instanceId}`));
    const { runtimeStatus } = (await reply.json()) as { runtimeStatus: string };
    if (runtimeStatus !== status) throw new Error(`${instanceId} is ${runtimeStatus}`);
  });
}

test("a workflow is one trace, though its runtime was killed in the middle", async () => {
  const folder = cleanup.folder();
  const traceId = randomHex(16);
  const arrived = (name: string, also: (span: ReceivedSpan) => boolean = () => true): Promise<ReceivedSpan> =>
    collector.arrived((span) => span.traceId === traceId && span.name === name && also(span));
  const first = await exporting(folder);
  const worker = work(first.grpc);
  const headers = { traceparent: `00-${traceId}-${randomHex(8)}-01` };
  const start = "/v1.0/workflows/dapr/outer/start?instanceID=traced";
  expect((await fetch(first.url(start), { method: "POST", headers })).status).toBe(202);
  await historyHolds(first, "traced-inner", "COMPLETED");
  const creation = await arrived("create_orchestration||outer");
  const activity = await arrived("activity||step");
  const inner = await arrived("orchestration||inner");
  const timed = await arrived("timer");
  worker.leave();
  first.process.child.kill("SIGKILL");
  await first.process.ended;

  const second = await exporting(folder);
  work(second.grpc);
  await fetch(second.url("/v1.0/workflows/dapr/traced/raiseEvent/go"), { method: "POST" });
  await historyHolds(second, "traced", "COMPLETED");
  const ofStatus = (status: string) => (span: ReceivedSpan) =>
    span.attributes["durabletask.runtime_status"] === status;
  const outer = await arrived("orchestration||outer", ofStatus("CONTINUED_AS_NEW"));
  const last = await arrived("orchestration||outer", ofStatus("COMPLETED"));

  expect(creation.kind).toBe(kinds.client);
  expect(outer).toMatchObject({ kind: kinds.server, parentSpanId: creation.spanId });
  expect(last).toMatchObject({ kind: kinds.server, parentSpanId: creation.spanId });
  expect(last.spanId).not.toBe(outer.spanId);
  expect(activity).toMatchObject({ kind: kinds.server, parentSpanId: outer.spanId });
  expect(inner).toMatchObject({ kind: kinds.server, parentSpanId: outer.spanId });
  expect(timed).toMatchObject({ kind: kinds.internal, parentSpanId: outer.spanId });
  expect(outer.attributes).toMatchObject({
    "durabletask.type": "orchestration",
    "durabletask.task.name": "outer",
    "durabletask.task.instance_id": "traced",
  });
  expect(activity.attributes).toMatchObject({
    "durabletask.type": "activity",
    "durabletask.task.name": "step",
    "durabletask.task.task_id": "1",
    "durabletask.task.instance_id": "traced",
  });
  expect(timed.attributes).toMatchObject({ "durabletask.type": "timer", "durabletask.task.task_id": "2" });
});
