import { create } from "@bufbuild/protobuf";
import { errors } from "../../errors.ts";
import {
  type HistoryEvent,
  OrchestrationStatus as Status,
  WorkflowInstanceSchema,
} from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { StoreConflict } from "../store/store.ts";
import type { EngineParts } from "./engine-parts.ts";
import { decodeEvent, type EncodedEvent, encodeEvent, makeEvent } from "./events.ts";
import { factsOf } from "./instance.ts";
import { historyName, inputSpace, recordSpace } from "./names.ts";
import { encodeRecord, type InstanceRecord, isTerminal } from "./record.ts";
import { stepAgain } from "./step-again.ts";

export interface RerunRequest {
  sourceId: string;
  eventId: number;
  newId: string;
  /** Replaces the input of the step. */
  input?: string | undefined;
  overwritesInput: boolean;
  newChildId?: string | undefined;
}

/**
 * Starts a new instance with the history of a finished one up to a step, and does that step again. What began with
 * the same turn, and what had begun before and not ended by then, is done again too. Throws Faults.
 */
export async function rerun(parts: EngineParts, request: RerunRequest): Promise<void> {
  const { commits, changes, home } = parts;
  const { sourceId, newId, eventId } = request;
  const source = await home.settle(sourceId);
  if (source === undefined) throw errors.WORKFLOW_NOT_FOUND();
  if (!isTerminal(source.record.status)) throw errors.WORKFLOW_RERUN(`'${sourceId}' has not yet completed`);
  if (newId === sourceId) throw errors.WORKFLOW_RERUN("the new instance needs an id of its own");
  if ((await home.settle(newId)) !== undefined) throw errors.WORKFLOW_ACTIVE(newId);
  const history = (await home.history(sourceId)).map(decodeEvent);
  const cut = history.findIndex(({ event }) => event.eventId === eventId && isStep(event));
  if (cut < 0) {
    throw errors.WORKFLOW_EVENT_NOT_FOUND(
      `'${sourceId}' has no activity, timer or child with ID '${eventId}'`,
    );
  }
  const copy = new Copy(parts, request, source.record);
  try {
    await commits.commit(copy.mutations(history, cut));
  } catch (error) {
    if (error instanceof StoreConflict) throw errors.WORKFLOW_ACTIVE(newId, { cause: error });
    throw error;
  }
  changes.notify(newId);
}

function isStep({ eventType }: HistoryEvent): boolean {
  const kind = eventType.case;
  return kind === "taskScheduled" || kind === "timerCreated" || kind === "childWorkflowInstanceCreated";
}

class Copy {
  readonly #parts: EngineParts;
  readonly #request: RerunRequest;
  readonly #record: InstanceRecord;
  readonly #nowMs: number;

  constructor(parts: EngineParts, request: RerunRequest, source: InstanceRecord) {
    this.#parts = parts;
    this.#request = request;
    this.#nowMs = parts.edges.clock.now();
    const { name, version, tags } = source;
    this.#record = {
      name,
      ...(version === undefined ? {} : { version }),
      ...(tags === undefined ? {} : { tags }),
      status: Status.RUNNING,
      executionId: parts.edges.random.uuid(),
      createdMs: this.#nowMs,
      startedMs: this.#nowMs,
      updatedMs: this.#nowMs,
    };
  }

  mutations(history: readonly EncodedEvent[], cut: number): Mutation[] {
    const { app } = this.#parts;
    const { newId } = this.#request;
    const name = historyName(app, newId);
    const kept = history.slice(0, turnEnd(history, cut)).map((encoded) => this.#renamed(encoded));
    const events = kept.map(({ bytes }) => bytes);
    const open = factsOf(events).open;
    const started = kept.find(({ event }) => event.eventType.case === "executionStarted")?.event.eventType;
    const input = started?.case === "executionStarted" ? started.value.input : undefined;
    const value = encodeRecord(this.#record);
    return [
      { kind: "put", space: recordSpace(app), key: newId, value, ifAbsent: true },
      { kind: "historyDelete", instance: name },
      { kind: "history", instance: name, expectedLength: 0, events },
      ...(input === undefined
        ? []
        : [
            {
              kind: "put" as const,
              space: inputSpace(app),
              key: newId,
              value: new TextEncoder().encode(input),
            },
          ]),
      ...kept.flatMap(({ event }) => (open.has(event.eventId) ? this.#again(event, events) : [])),
    ];
  }

  /** Events of the copy: own names, and the new input of the step. */
  #renamed(encoded: EncodedEvent): EncodedEvent {
    const { event } = encoded;
    const { eventId, newId, input, overwritesInput, newChildId } = this.#request;
    const { eventType } = event;
    if (eventType.case === "executionStarted") {
      const instance = { instanceId: newId, executionId: this.#record.executionId };
      const { parentInstance: _, ...start } = eventType.value;
      const value = { ...start, workflowInstance: create(WorkflowInstanceSchema, instance) };
      return makeEvent(this.#nowMs, { case: "executionStarted", value });
    }
    if (!isStep(event) || event.eventId < 0) return encoded;
    const isTarget = event.eventId === eventId;
    const copy = structuredClone(event);
    if (copy.eventType.case === "childWorkflowInstanceCreated") {
      const own = `${newId}:${event.eventId.toString(16).padStart(4, "0")}`;
      copy.eventType.value.instanceId = (isTarget && newChildId) || own;
    }
    const step = copy.eventType;
    const hasInput = step.case === "taskScheduled" || step.case === "childWorkflowInstanceCreated";
    if (isTarget && overwritesInput && hasInput) Object.assign(step.value, { input });
    return encodeEvent(copy);
  }

  #again(event: HistoryEvent, history: Uint8Array[]): Mutation[] {
    const { app, edges } = this.#parts;
    const { executionId, name } = this.#record;
    return stepAgain(event, {
      app,
      instanceId: this.#request.newId,
      executionId,
      name,
      history,
      nowMs: this.#nowMs,
      newId: () => edges.random.uuid(),
    });
  }
}

/** The end of the turn that began the step: its other steps belong to it. */
function turnEnd(history: readonly EncodedEvent[], cut: number): number {
  let end = cut + 1;
  while (end < history.length && isStep((history[end] as EncodedEvent).event)) end++;
  return end;
}
