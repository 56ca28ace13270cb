import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type HistoryEvent,
  OrchestrationStatus,
  type WorkflowAction,
  WorkflowActionSchema,
  type WorkflowRequest,
} from "../../src/wire/orchestrator_service_pb.js";

/** Workflows as functions of their history: the same history has the same actions, as the SDKs' replay has it. */
export const programNames = ["chain", "fan", "sleep", "event", "parent", "again"] as const;
export type ProgramName = (typeof programNames)[number];

const steps = 4;
const sleepMs = 700;
const rounds = 3;

/** What each program ends with. */
export const outputs: Readonly<Record<ProgramName, string>> = {
  chain: `chain ${steps}`,
  fan: `fan ${steps}`,
  sleep: "slept",
  event: "heard go",
  parent: `parent of chain ${steps}`,
  again: `round ${rounds}`,
};

/** Throws when a timer has come before its time. */
export function actionsOf({ pastEvents, newEvents }: WorkflowRequest, nowMs: number): WorkflowAction[] {
  const past = new Replay(pastEvents);
  const all = new Replay([...pastEvents, ...newEvents]);
  for (const { fireAt } of all.fired)
    if (fireAt > nowMs) throw new Error(`a timer fired ${fireAt - nowMs} ms early`);
  // What the past has led to already is in it.
  const before = past.isStarted ? decide(past) : [];
  return decide(all).slice(before.length);
}

class Replay {
  name: ProgramName = "chain";
  input = "";
  isStarted = false;
  readonly results: string[] = [];
  readonly fired: { fireAt: number }[] = [];
  readonly heard: string[] = [];
  startedMs = 0;

  constructor(events: readonly HistoryEvent[]) {
    for (const { eventType, timestamp } of events) {
      switch (eventType.case) {
        case "executionStarted":
          this.isStarted = true;
          this.name = eventType.value.name as ProgramName;
          this.input = eventType.value.input ?? "";
          this.startedMs = timestamp === undefined ? 0 : timestampMs(timestamp);
          break;
        case "taskCompleted":
        case "childWorkflowInstanceCompleted":
          this.results.push(eventType.value.result ?? "");
          break;
        case "timerFired": {
          const { fireAt } = eventType.value;
          this.fired.push({ fireAt: fireAt === undefined ? 0 : timestampMs(fireAt) });
          break;
        }
        case "eventRaised":
          this.heard.push(eventType.value.name);
          break;
        default:
      }
    }
  }
}

/** Everything that the workflow has asked for up to here, in order. */
function decide(replay: Replay): WorkflowAction[] {
  const { name, results, fired, heard, input, startedMs } = replay;
  const actions: WorkflowAction[] = [];
  const add = (type: ActionType) => {
    actions.push(create(WorkflowActionSchema, { id: actions.length, workflowActionType: type }));
  };
  const activity = () => add({ case: "scheduleTask", value: { name: "step" } });
  const complete = (result: string) =>
    add({ case: "completeWorkflow", value: { workflowStatus: OrchestrationStatus.COMPLETED, result } });
  switch (name) {
    case "chain":
      for (let step = 0; step < Math.min(steps, results.length + 1); step++) activity();
      if (results.length === steps) complete(outputs.chain);
      break;
    case "fan":
      for (let step = 0; step < steps; step++) activity();
      if (results.length === steps) complete(outputs.fan);
      break;
    case "sleep":
      add({ case: "createTimer", value: { fireAt: timestampFromMs(startedMs + sleepMs) } });
      if (fired.length > 0) activity();
      if (results.length > 0) complete(outputs.sleep);
      break;
    case "event":
      if (heard.length > 0) activity();
      if (results.length > 0) complete(`heard ${heard[0]}`);
      break;
    case "parent":
      add({ case: "createChildWorkflow", value: { name: "chain" } });
      if (results.length > 0) complete(`parent of ${results[0]}`);
      break;
    case "again": {
      const round = Number(input || "1");
      activity();
      if (results.length === 0) break;
      if (round === rounds) complete(outputs.again);
      else {
        const workflowStatus = OrchestrationStatus.CONTINUED_AS_NEW;
        add({ case: "completeWorkflow", value: { workflowStatus, result: String(round + 1) } });
      }
    }
  }
  return actions;
}

type ActionType = NonNullable<MessageInitShape<typeof WorkflowActionSchema>["workflowActionType"]>;
