import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { HistoryEvent, TimerCreatedEvent } from "../../wire/orchestrator_service_pb.js";
import { OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";

/** One thing that happened in a workflow, with its end when it has one. */
export interface TimelineStep {
  /** Milliseconds since the start of the history. */
  atMs: number;
  /** The id of the event; `mecha workflow rerun` takes it. Absent: it is no step of its own. */
  id?: number;
  kind:
    | "start"
    | "activity"
    | "timer"
    | "wait"
    | "child"
    | "event"
    | "sent"
    | "suspend"
    | "resume"
    | "terminate"
    | "end";
  name: string;
  input?: string;
  output?: string;
  failure?: string;
  tookMs?: number;
  /** `left`: the workflow ended before the step did. */
  state: "done" | "failed" | "open" | "left";
}

/** Begin and end of each step on one line. */
export function timeline(events: readonly HistoryEvent[]): TimelineStep[] {
  // The start was asked for before the turn that begins the history.
  const started = Math.min(...events.slice(0, 2).map(({ timestamp }) => timeOf(timestamp)));
  const steps: TimelineStep[] = [];
  const open = new Map<number, TimelineStep>();
  for (const event of events) {
    const atMs = timeOf(event.timestamp) - started;
    const begun = stepOf(event, atMs);
    if (begun !== undefined) {
      steps.push(begun);
      if (begun.state === "open" && begun.id !== undefined) open.set(begun.id, begun);
    }
    finish(event, atMs, open);
  }
  return steps;
}

function stepOf({ eventId: id, eventType }: HistoryEvent, atMs: number): TimelineStep | undefined {
  const done = { atMs, name: "", state: "done" } as const;
  switch (eventType.case) {
    case "executionStarted":
      return { ...done, kind: "start", name: eventType.value.name, ...given("input", eventType.value.input) };
    case "taskScheduled": {
      const { name, input } = eventType.value;
      return { atMs, id, kind: "activity", name, state: "open", ...given("input", input) };
    }
    case "timerCreated":
      return { atMs, id, state: "open", ...timerOf(eventType.value) };
    case "childWorkflowInstanceCreated": {
      const { name, instanceId, input } = eventType.value;
      const child = `${name} ${instanceId}`;
      return { atMs, id, kind: "child", name: child, state: "open", ...given("input", input) };
    }
    case "eventRaised":
      return { ...done, kind: "event", name: eventType.value.name, ...given("input", eventType.value.input) };
    case "eventSent":
      return { ...done, kind: "sent", name: `${eventType.value.name} to ${eventType.value.instanceId}` };
    case "executionSuspended":
      return { ...done, kind: "suspend", ...given("input", eventType.value.input) };
    case "executionResumed":
      return { ...done, kind: "resume", ...given("input", eventType.value.input) };
    case "executionTerminated":
      return { ...done, kind: "terminate", ...given("input", eventType.value.input) };
    case "executionCompleted": {
      const { workflowStatus, result, failureDetails } = eventType.value;
      const name = OrchestrationStatus[workflowStatus] ?? "";
      const isFailed = failureDetails !== undefined;
      const failure = failureDetails?.errorMessage;
      const ending = { ...given("output", result), ...given("failure", failure) };
      return { ...done, kind: "end", name, state: isFailed ? "failed" : "done", ...ending };
    }
    default:
      return undefined;
  }
}

/** SDKs wait for an event, and for the next try of a step, with a timer that says so. */
function timerOf({ name, fireAt, origin }: TimerCreatedEvent): Pick<TimelineStep, "kind" | "name"> {
  const due = fireAt === undefined ? "" : dueText(timeOf(fireAt));
  switch (origin.case) {
    case "externalEvent":
      return { kind: "wait", name: origin.value.name };
    case "activityRetry":
    case "childWorkflowRetry":
      return { kind: "timer", name: `next try ${due}` };
    default:
      return { kind: "timer", name: name || due };
  }
}

function finish({ eventType }: HistoryEvent, atMs: number, open: Map<number, TimelineStep>): void {
  switch (eventType.case) {
    case "taskCompleted":
    case "childWorkflowInstanceCompleted": {
      const { taskScheduledId, result } = eventType.value;
      end(open.get(taskScheduledId), atMs, { state: "done", ...given("output", result) });
      break;
    }
    case "taskFailed":
    case "childWorkflowInstanceFailed": {
      const { taskScheduledId, failureDetails } = eventType.value;
      const failure = failureDetails?.errorMessage ?? "failed";
      end(open.get(taskScheduledId), atMs, { state: "failed", failure });
      break;
    }
    case "timerFired": {
      const step = open.get(eventType.value.timerId);
      if (step?.state !== "open") break;
      end(step, atMs, step.kind === "wait" ? { state: "failed", failure: "no event" } : { state: "done" });
      break;
    }
    case "eventRaised": {
      const wanted = eventType.value.name.toLowerCase();
      const isWanted = ({ kind, name, state }: TimelineStep) =>
        kind === "wait" && state === "open" && name.toLowerCase() === wanted;
      end([...open.values()].find(isWanted), atMs, { state: "done" });
      break;
    }
    case "executionCompleted":
      for (const step of open.values()) if (step.state === "open") step.state = "left";
      break;
    default:
  }
}

function end(step: TimelineStep | undefined, atMs: number, ending: Partial<TimelineStep>): void {
  if (step !== undefined) Object.assign(step, ending, { tookMs: atMs - step.atMs });
}

function given<K extends string>(name: K, value: string | undefined): { [key in K]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { [key in K]?: string });
}

/** Some waits have no end: SDKs give them the last time there is. */
function dueText(ms: number): string {
  return ms >= Date.UTC(9999, 11, 31) ? "never" : new Date(ms).toISOString();
}

function timeOf(timestamp: Timestamp | undefined): number {
  return timestamp === undefined ? 0 : timestampMs(timestamp);
}

const textMax = 60;

/** A line per step: when, what, its input, what became of it, how long it took. */
export function timelineText(steps: readonly TimelineStep[]): string[][] {
  return steps.map(({ atMs, id, kind, name, input, output, failure, tookMs, state }) => [
    `+${(atMs / 1000).toFixed(3)}s`,
    id === undefined ? "" : String(id),
    kind,
    name,
    short(input),
    failure === undefined ? short(output) : `failed: ${short(failure)}`,
    tookMs === undefined ? (state === "open" || state === "left" ? state : "") : `${tookMs} ms`,
  ]);
}

function short(text = ""): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > textMax ? `${line.slice(0, textMax - 1)}…` : line;
}
