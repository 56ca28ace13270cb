import { formatTraceparent, parseTraceparent } from "../../telemetry/propagation.ts";
import type { Span, Tracer } from "../../telemetry/telemetry.ts";
import { type ActivityRequest, OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";
import { decodeEvent, dueMs, type EncodedEvent } from "./events.ts";
import type { Instance } from "./instance.ts";
import type { StartRequest } from "./instances.ts";
import type { InstanceRecord } from "./record.ts";

/**
 * Spans of workflows, with Dapr's names and attributes. One of an execution outlives turns and processes: its id and
 * its begin are in the instance's record, and whoever ends the execution exports it.
 */
export class WorkflowSpans {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Of the call that creates an instance; its context is the parent of the execution. */
  creation({ instanceId, name, version, traceParent }: StartRequest): Span | undefined {
    const parent = contextOf(traceParent);
    if (parent === undefined) return undefined;
    const span = this.#tracer.start(spanName("create_orchestration", name, version), "client", parent);
    if (!span.isRecorded) return undefined;
    describe(span, instanceId, name, version);
    return span;
  }

  /** The record of an execution that begins now, with a span of its own when its trace is recorded. */
  begun(record: InstanceRecord, nowMs: number): InstanceRecord {
    const origin = record.trace?.origin ?? record.traceParent;
    const parent = contextOf(origin);
    if (origin === undefined || parent === undefined) return record;
    const { trace: _, ...plain } = record;
    const span = this.#tracer.start(spanName("orchestration", record.name, record.version), "server", parent);
    if (!span.isRecorded) return { ...plain, traceParent: origin };
    return { ...plain, traceParent: formatTraceparent(span.context), trace: { origin, sinceMs: nowMs } };
  }

  /** An execution is over: the instance ended, or goes on as new. */
  ended(instanceId: string, record: InstanceRecord, status: OrchestrationStatus): void {
    const { name, version, trace, traceParent, failure } = record;
    const own = contextOf(traceParent);
    if (trace === undefined || own === undefined) return;
    const options = { startMs: trace.sinceMs, spanId: own.spanId };
    const parent = contextOf(trace.origin);
    const span = this.#tracer.start(spanName("orchestration", name, version), "server", parent, options);
    describe(span, instanceId, name, version);
    span.set("durabletask.runtime_status", OrchestrationStatus[status] ?? "");
    const isFailed = status === OrchestrationStatus.FAILED;
    span.end(isFailed ? { code: 2, message: failure?.errorMessage ?? "" } : undefined);
  }

  /** Timers that fired in a turn, each from when it was set. */
  timers({ id, record, history }: Instance, events: readonly EncodedEvent[]): void {
    if (record.trace === undefined) return;
    for (const { event } of events) {
      if (event.eventType.case !== "timerFired") continue;
      const { timerId, fireAt } = event.eventType.value;
      const startMs = setAtMs(history, timerId);
      if (startMs === undefined) continue;
      const span = this.#tracer.start("timer", "internal", contextOf(record.traceParent), { startMs });
      span.set("durabletask.type", "timer");
      span.set("durabletask.fire_at", new Date(dueMs(fireAt, startMs)).toISOString());
      span.set("durabletask.task.task_id", timerId);
      span.set("durabletask.task.instance_id", id);
      span.end();
    }
  }
}

function spanName(kind: string, name: string, version: string | undefined): string {
  return version === undefined || version === "" ? `${kind}||${name}` : `${kind}||${name}||${version}`;
}

function describe(span: Span, instanceId: string, name: string, version: string | undefined): void {
  if (!span.isRecorded) return;
  span.set("durabletask.type", "orchestration");
  span.set("durabletask.task.name", name);
  span.set("durabletask.task.instance_id", instanceId);
  if (version !== undefined && version !== "") span.set("durabletask.task.version", version);
}

export function describeActivity(span: Span, { name, taskId, workflowInstance }: ActivityRequest): void {
  if (!span.isRecorded) return;
  span.set("durabletask.type", "activity");
  span.set("durabletask.task.name", name);
  span.set("durabletask.task.task_id", taskId);
  span.set("durabletask.task.instance_id", workflowInstance?.instanceId ?? "");
}

/** Only of what is sampled: nothing else is recorded. */
function contextOf(traceParent: string | undefined) {
  const context = parseTraceparent(traceParent);
  return context?.sampled === true ? context : undefined;
}

function setAtMs(history: readonly Uint8Array[], timerId: number): number | undefined {
  for (const bytes of history) {
    const { event } = decodeEvent(bytes);
    if (event.eventId === timerId && event.eventType.case === "timerCreated")
      return dueMs(event.timestamp, 0);
  }
  return undefined;
}
