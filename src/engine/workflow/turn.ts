import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ActivityRequestSchema,
  type CompleteWorkflowAction,
  type CreateChildWorkflowAction,
  type CreateDetachedWorkflowAction,
  type CreateTimerAction,
  type HistoryEvent,
  type PropagatedHistory,
  type ScheduleTaskAction,
  HistoryPropagationScope as Scope,
  OrchestrationStatus as Status,
  type TaskRouter,
  TaskRouterSchema,
  type WorkflowAction,
  type WorkflowResponse,
} from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { childEnded } from "./child-ended.ts";
import { dueMs, type EncodedEvent, encodeEvent, failureRecord, makeEvent } from "./events.ts";
import type { Facts, OpenStep } from "./facts.ts";
import { type Instance, liveStatus } from "./instance.ts";
import { ask, timerDelete, timerSet, toActivities, toInbox } from "./messages.ts";
import { type AppName, isSameApp } from "./names.ts";
import { dropPropagated, handOn, keepPropagated, propagatedKey } from "./propagation.ts";
import { type InstanceRecord, isTerminal } from "./record.ts";

/** What a turn comes to. Nothing of it has happened before it is committed. */
export interface Decision {
  /** Appended to the history. */
  events: EncodedEvent[];
  facts: Facts;
  record: InstanceRecord;
  /** Activities, timers and messages that leave the instance. */
  mutations: Mutation[];
  /** The workflow goes on as a new execution, whose first events these are. */
  restart?: EncodedEvent[];
  /** What that execution is handed, when this one was handed something. */
  handed?: PropagatedHistory;
}

export interface TurnRequest {
  app: AppName;
  instance: Instance;
  /** The facts after the new events. */
  facts: Facts;
  /** WorkflowStarted first, then what was in the inbox. */
  newEvents: readonly EncodedEvent[];
  response: WorkflowResponse;
  /** What the execution was handed by its parent. */
  received?: PropagatedHistory | undefined;
  /** Largest request of an activity that its worker can be sent. */
  activityBytesMax?: number;
  nowMs: number;
  newId(): string;
}

/** The workflow can not go on until its worker changes: it stands still as STALLED. */
export class Stalled extends Error {
  constructor(reason: "PATCH_MISMATCH" | "VERSION_NOT_AVAILABLE" | "PAYLOAD_SIZE_EXCEEDED", why: string) {
    super(`${reason}: ${why}`);
    this.name = "Stalled";
  }
}

/** Turns the actions that a worker answered into one commit's worth of changes. Throws `Stalled`. */
export function decide(request: TurnRequest): Decision {
  return new Turn(request).decide();
}

class Turn {
  readonly #request: TurnRequest;
  readonly #facts: Facts;
  readonly #events: EncodedEvent[];
  readonly #mutations: Mutation[] = [];
  readonly #record: InstanceRecord;
  #restart: EncodedEvent[] | undefined;

  constructor(request: TurnRequest) {
    this.#request = request;
    this.#facts = request.facts;
    this.#events = [...request.newEvents];
    const { stalled: _, ...record } = request.instance.record;
    this.#record = { ...record, updatedMs: request.nowMs };
  }

  decide(): Decision {
    const { response, nowMs, newEvents } = this.#request;
    this.#recordVersion();
    if (response.customStatus !== undefined) this.#record.customStatus = response.customStatus;
    for (const action of response.actions) {
      this.#apply(action);
      if (this.#restart !== undefined) return this.#restarted(this.#restart);
    }
    const terminated = newEvents.find(isTermination)?.event;
    if (terminated !== undefined) this.#terminate(terminated);
    if (!this.#facts.isCompleted) this.#record.status = liveStatus(this.#facts);
    if (this.#facts.isStarted) this.#record.startedMs ??= nowMs;
    return {
      events: this.#events,
      facts: this.#facts,
      record: this.#record,
      mutations: this.#mutations,
    };
  }

  /** Patches that the worker saw: those of the history first, then new ones, which this turn records. */
  #recordVersion(): void {
    const { version } = this.#request.response;
    const { nowMs, newEvents } = this.#request;
    const known = this.#facts.patches;
    const given = version?.patches ?? [];
    // A worker that says nothing of patches has none; what is to end ends all the same.
    const isOther = known.some((patch, index) => given[index] !== patch);
    if (isOther && !newEvents.some(isTermination)) {
      throw new Stalled("PATCH_MISMATCH", `recorded ${known.join(", ")}, worker has ${given.join(", ")}`);
    }
    const fresh = given.slice(known.length);
    const name = version?.name;
    if (newEvents.length === 0 || (fresh.length === 0 && name === undefined)) return;
    const recorded = name === undefined ? { patches: fresh } : { patches: fresh, name };
    this.#events[0] = makeEvent(nowMs, { case: "workflowStarted", value: { version: recorded } });
    this.#facts.patches = [...known, ...fresh];
  }

  #apply(action: WorkflowAction): void {
    if (this.#facts.isCompleted) return;
    const { id, workflowActionType: type } = action;
    switch (type.case) {
      case "scheduleTask":
        this.#schedule(id, type.value, routerOf(type.value.router ?? action.router));
        break;
      case "createTimer":
        this.#createTimer(id, type.value);
        break;
      case "createChildWorkflow":
        this.#createChild(id, type.value, routerOf(type.value.router ?? action.router));
        break;
      case "createDetachedWorkflow":
        this.#createDetached(id, type.value, routerOf(type.value.router ?? action.router));
        break;
      case "sendEvent":
        this.#sendEvent(id, type.value.instance?.instanceId ?? "", type.value.name, type.value.data);
        break;
      case "terminateWorkflow": {
        const { instanceId, reason, recurse } = type.value;
        const value = { recurse, ...(reason === undefined ? {} : { input: reason }) };
        this.#send(instanceId, { case: "executionTerminated", value });
        break;
      }
      case "completeWorkflow":
        this.#complete(id, type.value);
        break;
      case "workflowVersionNotAvailable":
        throw new Stalled("VERSION_NOT_AVAILABLE", versionMissing);
      default:
    }
  }

  #schedule(id: number, action: ScheduleTaskAction, router: TaskRouter | undefined): void {
    const { app, instance, activityBytesMax = Number.POSITIVE_INFINITY } = this.#request;
    const { name, version, input, taskExecutionId, historyPropagationScope: scope } = action;
    const { traceParent, executionId } = this.#record;
    const context = traceParent === undefined ? {} : { parentTraceContext: traceContext(traceParent) };
    const said = { name, ...optional({ version, input }), ...context, taskExecutionId };
    this.#add(id, { case: "taskScheduled", value: { ...said, ...scopeOf(scope) } }, router);
    const propagatedHistory = this.#handOn(scope);
    const request = create(ActivityRequestSchema, {
      ...said,
      workflowInstance: { instanceId: instance.id, executionId },
      taskId: id,
      ...(propagatedHistory === undefined ? {} : { propagatedHistory }),
    });
    const call = toActivities({ target: this.#target(router), parent: app, executionId, request });
    const { byteLength } = call.message.data;
    if (byteLength > activityBytesMax) {
      throw new Stalled("PAYLOAD_SIZE_EXCEEDED", `the request of activity ${name} has ${byteLength} bytes`);
    }
    this.#mutations.push(call);
  }

  #createTimer(id: number, { fireAt, name, origin }: CreateTimerAction): void {
    const { app, instance, nowMs } = this.#request;
    const { executionId } = this.#record;
    const at = dueMs(fireAt, nowMs);
    // To the nanosecond as it was given: SDKs recognise the timers that only stand for an endless wait.
    const timestamp = fireAt ?? timestampFromMs(at);
    this.#add(id, {
      case: "timerCreated",
      value: { fireAt: timestamp, ...optional({ name }), ...(origin.case === undefined ? {} : { origin }) },
    });
    const fired = makeEvent(Math.max(at, nowMs), {
      case: "timerFired",
      value: { timerId: id, fireAt: timestamp },
    });
    if (at >= endlessMs) return;
    this.#mutations.push(
      at <= nowMs
        ? toInbox(app, instance.id, fired.bytes, executionId)
        : timerSet(app, { instanceId: instance.id, executionId, purpose: id }, at, fired.bytes),
    );
  }

  #createChild(id: number, action: CreateChildWorkflowAction, router: TaskRouter | undefined): void {
    const { app, instance, newId, nowMs } = this.#request;
    const { name, version, input, historyPropagationScope: scope } = action;
    const executionId = newId();
    const instanceId = action.instanceId || `${instance.id}:${id.toString(16).padStart(4, "0")}`;
    this.#add(
      id,
      {
        case: "childWorkflowInstanceCreated",
        value: { instanceId, name, ...optional({ version, input }), ...scopeOf(scope) },
      },
      router,
    );
    const start = makeEvent(nowMs, {
      case: "executionStarted",
      value: {
        name,
        ...optional({ version, input }),
        workflowInstance: { instanceId, executionId },
        parentInstance: {
          taskScheduledId: id,
          name: this.#record.name,
          workflowInstance: { instanceId: instance.id, executionId: this.#record.executionId },
          appID: app.appId,
          appNamespace: app.namespace,
        },
        ...this.#traceContext(),
      },
    });
    const target = this.#target(router);
    const handed = this.#handOn(scope);
    if (handed !== undefined) {
      this.#mutations.push(keepPropagated(target, propagatedKey(instanceId, executionId), handed));
    }
    this.#ask(target, instanceId, start.bytes, { handsOn: handed !== undefined });
  }

  #createDetached(id: number, action: CreateDetachedWorkflowAction, router: TaskRouter | undefined): void {
    const { app, newId, nowMs } = this.#request;
    const { name, version, input, tags, scheduledStartTimestamp } = action;
    const instanceId = action.instanceId || newId();
    this.#add(id, { case: "detachedWorkflowInstanceCreated", value: { instanceId } }, router);
    const executionId = newId();
    const scheduled = scheduledStartTimestamp === undefined ? {} : { scheduledStartTimestamp };
    const start = makeEvent(nowMs, {
      case: "executionStarted",
      value: {
        name,
        ...optional({ version, input }),
        workflowInstance: { instanceId, executionId },
        tags,
        ...scheduled,
        ...this.#traceContext(),
      },
    });
    const at = dueMs(scheduledStartTimestamp, nowMs);
    const target = this.#target(router);
    const isLater = at > nowMs;
    if (isLater && isSameApp(target, app)) {
      const name = { instanceId, executionId, purpose: "start" as const };
      this.#mutations.push(timerSet(target, name, at, start.bytes));
    } else this.#ask(target, instanceId, start.bytes, isLater ? { notBeforeMs: at } : {});
  }

  #sendEvent(id: number, instanceId: string, name: string, data: string | undefined): void {
    const value = { name, ...optional({ input: data }) };
    this.#add(id, { case: "eventSent", value: { instanceId, ...value } });
    this.#send(instanceId, { case: "eventRaised", value });
  }

  #complete(id: number, action: CompleteWorkflowAction): void {
    const { workflowStatus, result, failureDetails: details } = action;
    // How the Java SDK says that it has no such version: nothing has ended.
    if (workflowStatus === Status.STALLED) throw new Stalled("VERSION_NOT_AVAILABLE", versionMissing);
    if (workflowStatus === Status.CONTINUED_AS_NEW) {
      if (this.#request.newEvents.some(isTermination)) return;
      this.#restart = this.#nextExecution(action);
      return;
    }
    this.#add(id, {
      case: "executionCompleted",
      value: {
        workflowStatus,
        ...optional({ result }),
        ...(details === undefined ? {} : { failureDetails: details }),
      },
    });
    this.#end(isTerminal(workflowStatus) ? workflowStatus : Status.COMPLETED, result);
    if (details !== undefined) this.#record.failure = failureRecord(details);
    this.#tellParent();
  }

  /** A terminated workflow ends, whatever its worker said; its children with it when they were meant too. */
  #terminate({ eventType }: HistoryEvent): void {
    if (eventType.case !== "executionTerminated") return;
    const { input, recurse } = eventType.value;
    if (!this.#facts.isCompleted) {
      const value = { workflowStatus: Status.TERMINATED, ...optional({ result: input }) };
      this.#add(-1, { case: "executionCompleted", value });
      this.#end(Status.TERMINATED, input);
      this.#tellParent();
    }
    if (!recurse) return;
    for (const step of this.#facts.open.values()) {
      if (step.kind !== "child") continue;
      const value = { recurse: true, ...optional({ input }) };
      this.#send(step.instanceId, { case: "executionTerminated", value }, this.#appOf(step));
    }
  }

  #end(status: Status, output: string | undefined): void {
    const { app, instance, nowMs } = this.#request;
    const record = this.#record;
    if (record.propagated) {
      this.#mutations.push(dropPropagated(app, propagatedKey(instance.id, record.executionId)));
    }
    record.status = status;
    record.completedMs = nowMs;
    if (output !== undefined) record.output = output;
    for (const [id, step] of this.#facts.open) {
      if (step.kind !== "timer") continue;
      const name = { instanceId: instance.id, executionId: record.executionId, purpose: id };
      this.#mutations.push(timerDelete(app, name));
    }
  }

  #tellParent(): void {
    this.#mutations.push(...childEnded(this.#record, this.#request.nowMs));
  }

  #nextExecution({ result, newVersion, carryoverEvents }: CompleteWorkflowAction): EncodedEvent[] {
    const { instance, newId, nowMs } = this.#request;
    const { parent, name, version, tags } = this.#record;
    const executionId = newId();
    const start = makeEvent(nowMs, {
      case: "executionStarted",
      value: {
        name,
        ...optional({ version: newVersion ?? version, input: result }),
        workflowInstance: { instanceId: instance.id, executionId },
        ...(parent === undefined ? {} : { parentInstance: parentInstance(parent) }),
        ...(tags === undefined ? {} : { tags }),
        ...this.#traceContext(this.#record.trace?.origin),
      },
    });
    this.#record.executionId = executionId;
    if (newVersion !== undefined) this.#record.version = newVersion;
    return [start, ...carryoverEvents.map(encodeEvent)];
  }

  /** What the old execution still wanted is dropped with it, its timers too. */
  #restarted(restart: EncodedEvent[]): Decision {
    const { app, instance } = this.#request;
    const { executionId } = instance.record;
    const mutations: Mutation[] = [...instance.facts.open].flatMap(([id, { kind }]) =>
      kind === "timer" ? [timerDelete(app, { instanceId: instance.id, executionId, purpose: id })] : [],
    );
    const decision = { events: this.#events, facts: this.#facts, record: this.#record, mutations, restart };
    const handed = this.#handOn(this.#request.received?.scope);
    if (handed === undefined) return decision;
    const next = propagatedKey(instance.id, this.#record.executionId);
    mutations.push(
      dropPropagated(app, propagatedKey(instance.id, executionId)),
      keepPropagated(app, next, handed),
    );
    return { ...decision, handed };
  }

  #add(eventId: number, type: Parameters<typeof makeEvent>[1], router?: TaskRouter): void {
    const { app, nowMs } = this.#request;
    const routed =
      router && create(TaskRouterSchema, { ...router, sourceAppID: router.sourceAppID || app.appId });
    const made = makeEvent(nowMs, type, { eventId, router: routed });
    this.#facts.note(made.event);
    this.#events.push(made);
  }

  #send(instanceId: string, type: Parameters<typeof makeEvent>[1], app = this.#request.app): void {
    this.#ask(app, instanceId, makeEvent(this.#request.nowMs, type).bytes);
  }

  #ask(
    target: AppName,
    instanceId: string,
    event: Uint8Array,
    options: { notBeforeMs?: number; handsOn?: boolean } = {},
  ): void {
    this.#mutations.push(ask({ from: this.#request.app, target, instanceId, event, ...options }));
  }

  /** The history so far, for a step that is to see it. */
  #handOn(scope: Scope | undefined): PropagatedHistory | undefined {
    if (scope === undefined || scope === Scope.NONE) return undefined;
    const { app, instance, received } = this.#request;
    const events = [...instance.history, ...this.#events.map(({ bytes }) => bytes)];
    return handOn({ scope, received, app, instanceId: instance.id, name: this.#record.name, events });
  }

  #target(router: TaskRouter | undefined): AppName {
    const { app } = this.#request;
    return {
      appId: router?.targetAppID ?? app.appId,
      namespace: router?.targetAppNamespace ?? app.namespace,
    };
  }

  #appOf({ appId, namespace }: Extract<OpenStep, { kind: "child" }>): AppName {
    const { app } = this.#request;
    return { appId: appId ?? app.appId, namespace: namespace ?? app.namespace };
  }

  #traceContext(traceParent = this.#record.traceParent) {
    return traceParent === undefined ? {} : { parentTraceContext: traceContext(traceParent) };
  }
}

const versionMissing = "no worker has the version of this workflow";

export function isTermination({ event }: EncodedEvent): boolean {
  return event.eventType.case === "executionTerminated";
}

/** A wait without an end is a timer of the last moment of the year 9999. */
const endlessMs = Date.UTC(9999, 11, 31);

/** A router that names nobody means the own app. */
function routerOf(router: TaskRouter | undefined): TaskRouter | undefined {
  return router?.targetAppID === undefined || router.targetAppID === "" ? undefined : router;
}

function parentInstance(parent: NonNullable<InstanceRecord["parent"]>) {
  const { instanceId, executionId, name, taskId, appId, namespace } = parent;
  return {
    taskScheduledId: taskId,
    name,
    workflowInstance: { instanceId, executionId },
    appID: appId,
    appNamespace: namespace,
  };
}

export function traceContext(traceParent: string): { traceParent: string; spanID: string } {
  return { traceParent, spanID: traceParent.split("-")[2] ?? "" };
}

function scopeOf(scope: Scope | undefined): { historyPropagationScope?: Scope } {
  return scope === undefined ? {} : { historyPropagationScope: scope };
}

/** Only the fields that are there. */
function optional<T extends Record<string, string | undefined>>(fields: T): { [K in keyof T]?: string } {
  const given: { [K in keyof T]?: string } = {};
  for (const name in fields) if (fields[name] !== undefined) given[name] = fields[name];
  return given;
}
