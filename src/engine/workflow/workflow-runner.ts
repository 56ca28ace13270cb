import { create, toBinary } from "@bufbuild/protobuf";
import {
  type PropagatedHistory,
  PropagatedHistorySchema,
  OrchestrationStatus as Status,
  type WorkflowResponse,
  WorkflowResponseSchema,
} from "../../wire/orchestrator_service_pb.js";
import { type Delivery, type Mutation, StoreConflict } from "../store/store.ts";
import type { FreshResult, FreshStart, FreshTurns } from "./at-once.ts";
import type { EngineParts } from "./engine-parts.ts";
import { decodeEvent, type EncodedEvent, failureDetails, makeEvent } from "./events.ts";
import { Facts } from "./facts.ts";
import { denial, operationOf } from "./gate.ts";
import type { Saved } from "./home.ts";
import { bytesOf, type Instance, putInput, putRecord } from "./instance.ts";
import { InstanceCache } from "./instance-cache.ts";
import { callerOf, timerSet, toInbox } from "./messages.ts";
import { propagatedSpace } from "./names.ts";
import { decodePropagated, dropPropagated, propagatedKey } from "./propagation.ts";
import { type FailureRecord, type InstanceRecord, isTerminal } from "./record.ts";
import { parentOf, recordOf } from "./start-event.ts";
import { type Decision, decide, isTermination, Stalled } from "./turn.ts";
import { WorkerLost } from "./workers.ts";

/** Executions that continue as new within one turn; more of them go through the inbox. */
const restartsMax = 20;
/** Of the largest message: what is round a payload needs room too. */
const payloadShare = 0.95;
const stalledRetryMs = 5_000;
/** So many stalled instances are tried again as soon as something changes; more of them after their time only. */
const stalledMax = 200;
const failedRetryMs = 1_000;

/** What one turn adds to what the instance was before it. */
interface TurnResult extends Decision {
  /** Executions of the turn that went on as new. */
  before?: InstanceRecord[];
  /** The history starts anew with `events`. */
  isNewHistory: boolean;
  /** Input of the execution that follows, when that starts from the inbox. */
  input?: string | undefined;
}

/** Runs turns: an instance's waiting events and its history go to a worker, what it answers becomes one commit. */
export class WorkflowRunner implements FreshTurns {
  readonly #parts: EngineParts;
  readonly #cache = new InstanceCache();
  /** The turns that run now, by instance. */
  readonly #running = new Map<string, Promise<void>>();
  #items = 0;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Handles the claimed messages of one instance. Never rejects. */
  async handle(deliveries: Delivery[]): Promise<void> {
    const { telemetry } = this.#parts;
    const instanceId = deliveries[0]?.headers.i ?? "";
    try {
      await this.alone(instanceId, () => this.#turn(instanceId, deliveries));
    } catch (error) {
      this.#cache.drop(instanceId);
      const isLost = error instanceof WorkerLost;
      if (!isLost) telemetry.log.warn({ error, instanceId }, "a workflow turn failed and is tried again");
      const delayMs = isLost ? error.retryMs : error instanceof StoreConflict ? 10 : failedRetryMs;
      await this.#giveBack(deliveries, delayMs);
    }
  }

  async alone<T>(instanceId: string, work: () => Promise<T>): Promise<T> {
    for (let before = this.#running.get(instanceId); before; before = this.#running.get(instanceId))
      await before;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running.set(instanceId, promise);
    try {
      return await work();
    } finally {
      this.#running.delete(instanceId);
      resolve();
    }
  }

  /** Only for an instance of which this runtime has made the last turn: it needs no reading. */
  async takeResults(instanceId: string, results: readonly FreshResult[]): Promise<boolean> {
    const instance = this.#cache.get(instanceId);
    if (instance === undefined || results.length === 0) return false;
    const { executionId } = instance.record;
    const facts = instance.facts.fork();
    for (const { event, executionId: meant } of results) {
      if (meant !== executionId || !facts.accepts(event.event)) return false;
      facts.note(event.event);
    }
    const events = results.map(({ event }) => event);
    return this.#fresh(
      instance,
      facts,
      events,
      results.map(({ delivery }) => delivery),
    );
  }

  async takeStart({ instanceId, event, record, etag }: FreshStart): Promise<boolean> {
    const facts = new Facts();
    facts.note(event.event);
    const nothing = { history: [], facts: new Facts(), bytes: 0, isNew: true };
    return this.#fresh({ id: instanceId, record, etag, ...nothing }, facts, [event], []);
  }

  async #fresh(
    instance: Instance,
    facts: Facts,
    events: EncodedEvent[],
    deliveries: Delivery[],
  ): Promise<boolean> {
    const { edges, telemetry, limits } = this.#parts;
    // Turns are counted where work is claimed.
    if (limits().workflowsMax !== undefined) return false;
    try {
      const result = await this.#decide(instance, facts, events, edges.clock.now());
      await this.#commit(instance, result, deliveries, []);
      return true;
    } catch (error) {
      this.#cache.drop(instance.id);
      this.#parts.workers.forget(instance.id);
      const isUsual =
        error instanceof StoreConflict || error instanceof WorkerLost || error instanceof Stalled;
      if (!isUsual)
        telemetry.log.warn({ error, instanceId: instance.id }, "a turn failed, its events are stored alone");
      return false;
    }
  }

  async #turn(instanceId: string, deliveries: Delivery[]): Promise<void> {
    const { edges, home } = this.#parts;
    const nowMs = edges.clock.now();
    const cached = this.#cache.get(instanceId);
    const { instance, events, mutations } = await this.#open(cached, instanceId, deliveries, nowMs);
    if (instance === undefined || isTerminal(instance.record.status)) {
      return home.dismiss(instance, deliveries, mutations);
    }
    const facts = instance.facts.fork();
    const accepted = events.filter(({ event }) => {
      const isNew = facts.accepts(event);
      if (isNew) facts.note(event);
      return isNew;
    });
    if (cached !== undefined && accepted.length < deliveries.length) {
      // Nothing is thrown away on the word of the cache: another runtime may have gone on with the instance.
      this.#cache.drop(instanceId);
      return this.#turn(instanceId, deliveries);
    }
    if (accepted.length === 0) return home.dismiss(instance, deliveries, mutations);
    try {
      const result = await this.#decide(instance, facts, accepted, nowMs);
      await this.#commit(instance, result, deliveries, mutations);
    } catch (error) {
      if (!(error instanceof Stalled)) throw error;
      await this.#stall(instance, error, deliveries);
    }
  }

  /** The instance and those of its messages that are meant for its present execution. */
  async #open(
    cached: Instance | undefined,
    instanceId: string,
    deliveries: Delivery[],
    nowMs: number,
  ): Promise<{ instance: Instance | undefined; events: EncodedEvent[]; mutations: Mutation[] }> {
    const { app, home } = this.#parts;
    let instance = await home.load(instanceId, cached);
    const events: EncodedEvent[] = [];
    const mutations: Mutation[] = [];
    const unacked = instance?.record.home?.unacked;
    for (const delivery of deliveries) {
      if (unacked?.includes(delivery.offset)) continue;
      const encoded = decodeEvent(delivery.data);
      const { eventType } = encoded.event;
      if (!this.#isAdmitted(delivery, encoded, instance)) {
        if (eventType.case === "executionStarted")
          mutations.push(...this.#refuse(eventType.value, nowMs, denial));
        continue;
      }
      if (eventType.case === "executionStarted") {
        const start = eventType.value;
        const executionId = start.workflowInstance?.executionId ?? "";
        if (instance === undefined || isTerminal(instance.record.status)) {
          const isOld = instance?.record.executionId === executionId;
          const record = recordOf(start, app, nowMs);
          if (delivery.headers.h !== undefined) record.propagated = true;
          if (!isOld) instance = this.#begin(instance, instanceId, record);
        } else if (instance.record.executionId !== executionId) {
          const errorMessage = `an active workflow with ID '${instanceId}' already exists`;
          const taken = { errorType: "AlreadyExists", errorMessage, isNonRetriable: true };
          mutations.push(...this.#refuse(start, nowMs, taken));
          continue;
        }
      }
      const { x } = delivery.headers;
      if (x !== undefined && x !== instance?.record.executionId) continue;
      events.push(encoded);
    }
    return { instance, events, mutations };
  }

  /** An instance that begins with its start message, in place of a finished one of the same id if there is one. */
  #begin(before: Instance | undefined, id: string, record: InstanceRecord): Instance {
    const nothing = { history: [], facts: new Facts(), bytes: 0, isNew: true };
    if (before?.record.home === undefined) return { id, record, etag: before?.etag ?? "", ...nothing };
    const { etag, stored } = before;
    return { id, record: { ...record, home: before.record.home }, etag, stored, ...nothing };
  }

  #isAdmitted({ headers }: Delivery, { event }: EncodedEvent, instance: Instance | undefined): boolean {
    const caller = callerOf(headers);
    const operation = caller && operationOf(event);
    if (operation === undefined) return true;
    const { eventType } = event;
    const name = eventType.case === "executionStarted" ? eventType.value.name : instance?.record.name;
    return this.#parts.gate.admits(caller, {
      kind: "workflow",
      operation,
      name: name ?? "",
      instanceId: headers.i ?? "",
    });
  }

  /** A child that may not be, or whose id another instance has that still runs, has failed to start. */
  #refuse(start: Parameters<typeof recordOf>[0], nowMs: number, why: FailureRecord): Mutation[] {
    const { app } = this.#parts;
    const parent = parentOf(start, app);
    if (parent === undefined) return [];
    const { instanceId = "", executionId = "" } = start.workflowInstance ?? {};
    const value = { taskScheduledId: parent.taskId, failureDetails: failureDetails(why) };
    const failed = makeEvent(nowMs, { case: "childWorkflowInstanceFailed", value });
    return [
      dropPropagated(app, propagatedKey(instanceId, executionId)),
      toInbox(parent, parent.instanceId, failed.bytes, parent.executionId),
    ];
  }

  async #decide(
    instance: Instance,
    facts: Facts,
    accepted: EncodedEvent[],
    nowMs: number,
  ): Promise<TurnResult> {
    const isTerminated = accepted.some(isTermination);
    if (!facts.isStarted && !isTerminated) return waitForStart(instance, facts, accepted, nowMs);
    try {
      return await this.#execute(instance, facts, accepted);
    } catch (error) {
      // A workflow that stands still can be ended all the same.
      if (!(error instanceof Stalled) || !isTerminated) throw error;
      const response = create(WorkflowResponseSchema, { instanceId: instance.id });
      const newEvents = [makeEvent(nowMs, { case: "workflowStarted", value: {} }), ...accepted];
      return { ...this.#apply(instance, facts, newEvents, response), isNewHistory: false };
    }
  }

  /** Runs the worker; a workflow that continues as new runs on within the turn. */
  async #execute(instance: Instance, facts: Facts, accepted: EncodedEvent[]): Promise<TurnResult> {
    const { edges, spans, meters } = this.#parts;
    const starts = accepted.some(({ event }) => event.eventType.case === "executionStarted");
    if (starts) meters.scheduling(instance.record.name, edges.clock.now() - wantedMs(instance.record));
    let current = starts
      ? { ...instance, record: spans.begun(instance.record, edges.clock.now()) }
      : instance;
    let draft = facts;
    let events = accepted;
    let input: string | undefined;
    const left: Mutation[] = [];
    const before: InstanceRecord[] = [];
    let received = await this.#received(instance);
    for (let restarts = 0; ; restarts++) {
      const newEvents = [makeEvent(edges.clock.now(), { case: "workflowStarted", value: {} }), ...events];
      const response = draft.isStarted
        ? await this.#ask(current, newEvents, received)
        : create(WorkflowResponseSchema, { instanceId: instance.id });
      const decision = this.#apply(current, draft, newEvents, response, received);
      left.push(...decision.mutations);
      const { restart } = decision;
      const isNewHistory = restarts > 0;
      if (restart === undefined) return { ...decision, mutations: left, isNewHistory, input, before };
      before.push(decision.record);
      received = decision.handed;
      input = inputOf(restart[0]);
      if (restarts === restartsMax) {
        return { ...this.#postpone(instance.id, decision, restart, left, input), before };
      }
      events = restart;
      draft = new Facts();
      for (const { event } of restart) draft.note(event);
      const record = spans.begun(decision.record, edges.clock.now());
      current = { ...instance, record, history: [], facts: new Facts(), bytes: 0 };
    }
  }

  /** Too many executions at once: the next one starts from the inbox. */
  #postpone(
    instanceId: string,
    decision: Decision,
    restart: EncodedEvent[],
    left: Mutation[],
    input: string | undefined,
  ): TurnResult {
    const { app } = this.#parts;
    const { executionId } = decision.record;
    const messages = restart.map(({ bytes }) => toInbox(app, instanceId, bytes, executionId));
    const record = { ...decision.record, status: Status.RUNNING };
    const mutations = [...left, ...messages];
    return { events: [], facts: new Facts(), record, mutations, isNewHistory: true, input };
  }

  /** What the parent of the instance has handed it. */
  async #received({ id, record }: Instance): Promise<PropagatedHistory | undefined> {
    if (record.propagated !== true) return undefined;
    const { store, app } = this.#parts;
    const entry = await store.get(propagatedSpace(app), propagatedKey(id, record.executionId));
    return entry && decodePropagated(entry.value);
  }

  #ask(
    instance: Instance,
    newEvents: EncodedEvent[],
    received: PropagatedHistory | undefined,
  ): Promise<WorkflowResponse> {
    const { workers, places, meters, messageBytesMax } = this.#parts;
    const handed = received && toBinary(PropagatedHistorySchema, received);
    const own = instance.bytes + bytesOf(newEvents.map((each) => each.bytes));
    const bytes = own + (handed?.byteLength ?? 0);
    meters.workflowPayload(instance.record.name, bytes / messageBytesMax);
    if (bytes > messageBytesMax * payloadShare) {
      throw new Stalled("PAYLOAD_SIZE_EXCEEDED", `${bytes} bytes of history and events`);
    }
    const completionToken = `${instance.record.executionId}.${this.#items++}`;
    return places.run("workflow", instance.record.name, () =>
      workers.runWorkflow({ instance, newEvents, completionToken, propagated: handed }),
    );
  }

  #apply(
    instance: Instance,
    facts: Facts,
    newEvents: EncodedEvent[],
    response: WorkflowResponse,
    received?: PropagatedHistory,
  ): Decision {
    const { app, edges, messageBytesMax } = this.#parts;
    return decide({
      app,
      activityBytesMax: messageBytesMax * payloadShare,
      instance,
      facts,
      newEvents,
      response,
      received,
      nowMs: edges.clock.now(),
      newId: () => edges.random.uuid(),
    });
  }

  async #commit(
    instance: Instance,
    result: TurnResult,
    deliveries: readonly Delivery[],
    first: Mutation[],
  ): Promise<void> {
    const { app, changes, home } = this.#parts;
    const { id } = instance;
    const events = result.events.map(({ bytes }) => bytes);
    const { isNewHistory } = result;
    const begins = isNewHistory || instance.isNew === true;
    const input = result.input ?? inputOf(...(begins ? result.events : []));
    const mutations = [
      ...first,
      ...(begins ? [putInput(app, id, input)] : []),
      ...result.mutations,
      ...this.#retention(id, result.record),
    ];
    const { record } = result;
    const saved = await home.save({ instance, record, events, isNewHistory, deliveries, mutations });
    this.#remember(instance, result, events, saved);
    this.#meter(result);
    this.#trace(instance, result);
    changes.notify(id, saved.record);
  }

  #remember(instance: Instance, result: TurnResult, events: Uint8Array[], saved: Saved): void {
    const { record, facts, isNewHistory } = result;
    if (isTerminal(record.status)) {
      this.#cache.drop(instance.id);
      return;
    }
    const history = isNewHistory ? events : instance.history.concat(events);
    const bytes = (isNewHistory ? 0 : instance.bytes) + bytesOf(events);
    this.#cache.keep({ id: instance.id, ...saved, history, facts, bytes });
  }

  #trace(instance: Instance, { record, before = [], events }: TurnResult): void {
    const { spans } = this.#parts;
    spans.timers(instance, events);
    for (const old of before) spans.ended(instance.id, old, Status.CONTINUED_AS_NEW);
    if (isTerminal(record.status)) spans.ended(instance.id, record, record.status);
  }

  #meter({ record, events }: TurnResult): void {
    const { meters, messageBytesMax } = this.#parts;
    const { name, status, createdMs, completedMs } = record;
    for (const { event, bytes } of events) {
      const { eventType } = event;
      if (eventType.case !== "taskScheduled") continue;
      meters.activityPayload(name, eventType.value.name, bytes.byteLength / messageBytesMax);
    }
    if (completedMs === undefined) return;
    const outcome =
      status === Status.COMPLETED ? "success" : status === Status.TERMINATED ? "terminated" : "failed";
    meters.workflow(name, outcome, completedMs - createdMs);
  }

  /** Finished instances are purged by a timer when the Configuration says so. */
  #retention(instanceId: string, { status, executionId, completedMs }: InstanceRecord): Mutation[] {
    const { retentionMs } = this.#parts.limits();
    if (retentionMs === undefined || completedMs === undefined) return [];
    const { anyTerminal, completed, failed, terminated } = retentionMs;
    const own = status === Status.COMPLETED ? completed : status === Status.TERMINATED ? terminated : failed;
    const keepMs = own ?? anyTerminal;
    if (keepMs === undefined) return [];
    return [timerSet(this.#parts.app, { instanceId, executionId, purpose: "purge" }, completedMs + keepMs)];
  }

  /** The messages stay: they are tried again, by then perhaps with another worker. */
  async #stall(instance: Instance, { message }: Stalled, deliveries: Delivery[]): Promise<void> {
    const { edges, commits, changes, telemetry, places, stalls, workers } = this.#parts;
    this.#cache.drop(instance.id);
    workers.forget(instance.id);
    if (instance.record.stalled !== message) {
      telemetry.log.warn({ instanceId: instance.id }, `workflow stalled: ${message}`);
      const updatedMs = edges.clock.now();
      const record = { ...instance.record, status: Status.STALLED, stalled: message, updatedMs };
      await commits.commit([putRecord(this.#parts.app, instance, record)]);
      changes.notify(instance.id);
    }
    const most = Math.min(stalledMax, places.jobsMax("workflow") >> 1);
    if (stalls.count >= most) return this.#giveBack(deliveries, stalledRetryMs);
    await stalls.hold(instance.id, stalledRetryMs);
    await this.#giveBack(deliveries, 0);
  }

  async #giveBack(deliveries: Delivery[], delayMs: number): Promise<void> {
    const { store, telemetry } = this.#parts;
    const given = deliveries.map((delivery) => store.nack(delivery, delayMs, { untried: true }));
    // What can not be given back now comes back when its lease ends.
    await Promise.all(given).catch((error) => telemetry.log.warn({ error }, "work could not be given back"));
  }
}

function wantedMs({ createdMs, scheduledMs }: InstanceRecord): number {
  return scheduledMs ?? createdMs;
}

/** Events that come before the start are kept for it. */
function waitForStart({ record }: Instance, facts: Facts, events: EncodedEvent[], nowMs: number): TurnResult {
  return { events, facts, record: { ...record, updatedMs: nowMs }, mutations: [], isNewHistory: false };
}

function inputOf(...events: (EncodedEvent | undefined)[]): string | undefined {
  for (const encoded of events) {
    const type = encoded?.event.eventType;
    if (type?.case === "executionStarted") return type.value.input;
  }
  return undefined;
}
