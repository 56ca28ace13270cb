import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  OrchestrationStatus as Status,
  type WorkflowActionSchema,
  WorkflowResponseSchema,
  type WorkflowVersionSchema,
} from "../../wire/orchestrator_service_pb.js";
import { type EncodedEvent, makeEvent } from "./events.ts";
import { factsOf } from "./instance.ts";
import type { InstanceRecord } from "./record.ts";
import { type Decision, decide, Stalled } from "./turn.ts";

const app = { namespace: "", appId: "app" };
const nowMs = 1_000_000;
const started = makeEvent(0, { case: "executionStarted", value: { name: "w" } });

interface Given {
  past?: EncodedEvent[];
  events?: EncodedEvent[];
  actions?: MessageInitShape<typeof WorkflowActionSchema>[];
  version?: MessageInitShape<typeof WorkflowVersionSchema>;
  record?: Partial<InstanceRecord>;
}

function turn({ past = [started], events = [], actions = [], version, record = {} }: Given): Decision {
  const history = past.map(({ bytes }) => bytes);
  const newEvents = [makeEvent(nowMs, { case: "workflowStarted", value: {} }), ...events];
  const facts = factsOf(history);
  for (const { event } of newEvents) facts.note(event);
  const base = { name: "w", status: Status.RUNNING, executionId: "x", createdMs: 0, updatedMs: 0 };
  const instance = {
    id: "i",
    record: { ...base, ...record },
    etag: "1",
    history,
    facts: factsOf(history),
    bytes: 0,
  };
  const response = create(WorkflowResponseSchema, { actions, ...(version && { version }) });
  return decide({ app, instance, facts, newEvents, response, nowMs, newId: () => "new" });
}

const kinds = (decision: Decision) => decision.events.map(({ event }) => event.eventType.case);
const complete = (status: Status, result = "1", id = 9) => ({
  id,
  workflowActionType: { case: "completeWorkflow" as const, value: { workflowStatus: status, result } },
});
const timer = (id: number, fireAtMs: number) => ({
  id,
  workflowActionType: { case: "createTimer" as const, value: { fireAt: timestampFromMs(fireAtMs) } },
});

test("the first completion wins, what comes after it is dropped", () => {
  const decision = turn({ actions: [complete(Status.FAILED), complete(Status.COMPLETED), timer(3, 0)] });
  expect(kinds(decision)).toEqual(["workflowStarted", "executionCompleted"]);
  expect(decision.record.status).toBe(Status.FAILED);
  expect(decision.mutations).toEqual([]);
});

test("a timer that is due already fires into the inbox, one without an end never", () => {
  const endless = Date.UTC(9999, 11, 31, 23, 59, 59);
  const { mutations } = turn({ actions: [timer(1, 0), timer(2, nowMs + 1), timer(3, endless)] });
  expect(mutations.map(({ kind }) => kind)).toEqual(["append", "timerSet"]);
});

test("a completion with the status of a stalled workflow is none: the version is missing", () => {
  expect(() => turn({ actions: [complete(Status.STALLED)] })).toThrow(Stalled);
});

test("the end of a workflow deletes its open timers and tells its parent", () => {
  const created = makeEvent(0, { case: "timerCreated", value: {} }, { eventId: 4 });
  const parent = { instanceId: "p", executionId: "y", name: "p", taskId: 2, appId: "other", namespace: "" };
  const { mutations } = turn({
    past: [started, created],
    actions: [complete(Status.COMPLETED)],
    record: { parent },
  });
  expect(mutations).toMatchObject([
    { kind: "timerDelete", id: "i|x|4" },
    { kind: "append", topic: "workflow:default:other", message: { orderKey: "p", headers: { x: "y" } } },
  ]);
});

test("a terminated workflow ends whatever the worker says, with its children when asked", () => {
  const child = { case: "childWorkflowInstanceCreated", value: { instanceId: "c", name: "c" } } as const;
  const terminated = makeEvent(0, { case: "executionTerminated", value: { recurse: true, input: '"why"' } });
  const decision = turn({
    past: [started, makeEvent(0, child, { eventId: 1 })],
    events: [terminated],
    actions: [complete(Status.CONTINUED_AS_NEW)],
  });
  expect([decision.record.status, decision.record.output]).toEqual([Status.TERMINATED, '"why"']);
  expect(decision.restart).toBeUndefined();
  expect(decision.mutations).toMatchObject([{ kind: "append", message: { orderKey: "c" } }]);
});

test("continue-as-new drops what the execution still wanted", () => {
  const created = makeEvent(0, { case: "timerCreated", value: {} }, { eventId: 4 });
  const decision = turn({
    past: [started, created],
    actions: [timer(5, nowMs + 9), complete(Status.CONTINUED_AS_NEW)],
  });
  expect(decision.mutations).toMatchObject([{ kind: "timerDelete", id: "i|x|4" }]);
  expect(decision.record.executionId).toBe("new");
  expect(decision.restart?.map(({ event }) => event.eventType.case)).toEqual(["executionStarted"]);
});

test("patches of the history must stand before new ones", () => {
  const value = { version: { patches: ["a"] } };
  const past = [started, makeEvent(0, { case: "workflowStarted", value })];
  expect(() => turn({ past, version: { patches: ["b"] } })).toThrow(Stalled);
  expect(() => turn({ past })).toThrow(Stalled);
  const terminated = makeEvent(0, { case: "executionTerminated", value: {} });
  expect(turn({ past, events: [terminated] }).record.status).toBe(Status.TERMINATED);
  const { events, facts } = turn({ past, version: { patches: ["a", "b"] } });
  expect(events[0]?.event.eventType.value).toMatchObject({ version: { patches: ["b"] } });
  expect(facts.patches).toEqual(["a", "b"]);
});

test("a child without an id gets one of its parent's", () => {
  const value = { name: "c" };
  const actions = [{ id: 17, workflowActionType: { case: "createChildWorkflow" as const, value } }];
  expect(turn({ actions }).mutations).toMatchObject([{ message: { orderKey: "i:0011" } }]);
});
