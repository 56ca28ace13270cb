import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { errors } from "../../errors.ts";
import { formatTraceparent } from "../../telemetry/propagation.ts";
import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { StoreConflict } from "../store/store.ts";
import type { AtOnce } from "./at-once.ts";
import { childrenOf } from "./children.ts";
import type { EngineParts } from "./engine-parts.ts";
import { type EncodedEvent, makeEvent } from "./events.ts";
import { putInput, putRecord, readRecord, type StoredRecord } from "./instance.ts";
import { timerSet, toInbox } from "./messages.ts";
import { historyName, inputSpace, recordSpace } from "./names.ts";
import { decodeRecord, type InstanceRecord, isTerminal } from "./record.ts";
import { recordOf } from "./start-event.ts";
import { traceContext } from "./turn.ts";

export interface StartRequest {
  instanceId: string;
  name: string;
  version?: string | undefined;
  input?: string | undefined;
  scheduledMs?: number | undefined;
  executionId?: string | undefined;
  tags?: Record<string, string>;
  traceParent?: string | undefined;
}

export interface InstanceView {
  id: string;
  record: InstanceRecord;
  /** Present when asked for and there is one. */
  input?: string;
}

/** What stores a new instance: alone, or with its first turn. */
interface Creation {
  mutations: Mutation[];
  isScheduled: boolean;
  event: EncodedEvent;
  record: InstanceRecord;
  /** Of the finished instance in whose place it comes. */
  etag: string;
}

type EventType = Parameters<typeof makeEvent>[1];

/** How long the end of a turn whose commit has been made is waited for. */
const turnEndMs = 1000;
const startTriesMax = 5;

/** What clients do with the instances of one app. Throws Faults. */
export class Instances {
  readonly #parts: EngineParts;
  readonly #closing: AbortSignal;

  constructor(parts: EngineParts, closing: AbortSignal) {
    this.#parts = parts;
    this.#closing = closing;
  }

  /**
   * Resolves with its id when the instance is stored, and, with a worker at hand, when it has left PENDING. The id is
   * another one when a guard knows the start.
   */
  async start(request: StartRequest, signal: AbortSignal): Promise<string> {
    let created: "scheduled" | "pending" | "begun" | undefined;
    const create = async (instanceId: string, mayExist: boolean): Promise<void> => {
      if (mayExist && (await this.#parts.home.read(instanceId)) !== undefined) return;
      created = await this.#traced({ ...request, instanceId }, (traced) =>
        this.#metered("create_workflow", () => this.#create(traced)),
      );
    };
    const guard = this.#parts.guardOf?.(request.name);
    if (guard === undefined) await create(request.instanceId, false);
    const instanceId = guard === undefined ? request.instanceId : await guard.start(request, create);
    if (created === "pending" && this.#parts.workers.count > 0) {
      await this.#leftPending(instanceId, request.executionId, signal);
    }
    return instanceId;
  }

  #leftPending(instanceId: string, executionId: string | undefined, signal: AbortSignal): Promise<unknown> {
    const isStarted = (record: InstanceRecord | undefined): boolean =>
      record?.status !== Status.PENDING || (executionId !== undefined && record.executionId !== executionId);
    return this.#wait(instanceId, isStarted, signal);
  }

  async get(instanceId: string, options: { input?: boolean } = {}): Promise<InstanceView | undefined> {
    return this.#metered("get_workflow", async () => {
      const stored = await this.#parts.home.read(instanceId);
      return stored && this.#view(instanceId, stored.record, options.input === true);
    });
  }

  /** Of which workflow an instance is; `undefined`: it is not there. */
  async nameOf(instanceId: string): Promise<string | undefined> {
    return (await this.#parts.home.read(instanceId))?.record.name;
  }

  async waitForStart(instanceId: string, input: boolean, signal: AbortSignal): Promise<InstanceView> {
    const isStarted = (record: InstanceRecord | undefined) => record?.status !== Status.PENDING;
    return this.#awaited(instanceId, isStarted, input, signal);
  }

  async waitForEnd(instanceId: string, input: boolean, signal: AbortSignal): Promise<InstanceView> {
    const isEnded = (record: InstanceRecord | undefined) => record === undefined || isTerminal(record.status);
    return this.#awaited(instanceId, isEnded, input, signal);
  }

  async raiseEvent(instanceId: string, name: string, input: string | undefined): Promise<void> {
    const value = input === undefined ? { name } : { name, input };
    await this.#send(instanceId, { case: "eventRaised", value });
  }

  /** Waits for the end when a worker is at hand. */
  async terminate(
    instanceId: string,
    options: { output?: string | undefined; recurse: boolean; signal: AbortSignal },
  ): Promise<void> {
    const { output, recurse, signal } = options;
    const value = output === undefined ? { recurse } : { recurse, input: output };
    await this.#send(instanceId, { case: "executionTerminated", value });
    await this.#settled(instanceId, () => false, signal);
  }

  async suspend(instanceId: string, reason: string | undefined, signal: AbortSignal): Promise<void> {
    const value = reason === undefined ? {} : { input: reason };
    await this.#send(instanceId, { case: "executionSuspended", value });
    await this.#settled(instanceId, (status) => status === Status.SUSPENDED, signal);
  }

  async resume(instanceId: string, reason: string | undefined, signal: AbortSignal): Promise<void> {
    const value = reason === undefined ? {} : { input: reason };
    await this.#send(instanceId, { case: "executionResumed", value });
    await this.#settled(instanceId, (status) => status === Status.RUNNING, signal);
  }

  async list(options: { after?: string | undefined; limit: number }): Promise<InstanceView[]> {
    const { store, app } = this.#parts;
    const { after, limit } = options;
    const entries = await store.list(recordSpace(app), after === undefined ? { limit } : { after, limit });
    return entries.map(({ key, value }) => ({ id: key, record: decodeRecord(value) }));
  }

  async history(instanceId: string): Promise<Uint8Array[]> {
    const { home } = this.#parts;
    if ((await home.read(instanceId)) === undefined) throw errors.WORKFLOW_NOT_FOUND();
    return home.history(instanceId);
  }

  async #traced<T>(request: StartRequest, create: (request: StartRequest) => Promise<T>): Promise<T> {
    const span = this.#parts.spans.creation(request);
    if (span === undefined) return create(request);
    try {
      const result = await create({ ...request, traceParent: formatTraceparent(span.context) });
      span.end();
      return result;
    } catch (error) {
      span.end({ code: 2, message: (error as Error).message });
      throw error;
    }
  }

  async #create(request: StartRequest): Promise<"scheduled" | "pending" | "begun"> {
    const { home, commits, changes, edges } = this.#parts;
    const { instanceId } = request;
    let executionId = request.executionId || edges.random.uuid();
    let begun: Promise<boolean> | undefined;
    for (let tries = 1; ; tries++) {
      const before = await home.settle(instanceId);
      // The turn that was given up has been made all the same.
      if (tries > 1 && before?.record.executionId === executionId) return "pending";
      // It may have been made, and be over and replaced: what ended must not go on under its name.
      if (tries > 1) executionId = request.executionId || edges.random.uuid();
      if (before !== undefined) await this.#checkReuse(instanceId, before);
      const creation = this.#creation({ ...request, executionId }, before);
      const turn = tries === 1 ? this.#beginAtOnce(instanceId, creation) : undefined;
      if (turn !== undefined && (await turn.soon)) return "begun";
      begun = turn?.late;
      try {
        await commits.commit(creation.mutations);
        changes.notify(instanceId);
        return creation.isScheduled ? "scheduled" : "pending";
      } catch (error) {
        // Somebody else was faster: what they made decides.
        if (!(error instanceof StoreConflict) || tries === startTriesMax) throw error;
        // That may be the turn that was given up, which may even have gone on as a new execution since.
        if (begun !== undefined && (await this.#isSoon(begun))) return "begun";
      }
    }
  }

  /** With a worker at hand the start is stored with the first turn. */
  #beginAtOnce(instanceId: string, creation: Creation): ReturnType<AtOnce["start"]> | undefined {
    const { atOnce, workers } = this.#parts;
    const { event, record, etag, isScheduled } = creation;
    if (atOnce === undefined || isScheduled || workers.count === 0) return undefined;
    return atOnce.start({ instanceId, event, record, etag });
  }

  /** Its commit was before ours, so its end is near; a turn that lost as well may still wait for its worker. */
  async #isSoon(begun: Promise<boolean>): Promise<boolean> {
    const { clock } = this.#parts.edges;
    const late = Promise.withResolvers<boolean>();
    const timer = clock.setTimer(turnEndMs, () => late.resolve(false));
    try {
      return await Promise.race([begun, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  async #checkReuse(instanceId: string, { record }: StoredRecord): Promise<void> {
    if (!isTerminal(record.status)) throw errors.WORKFLOW_ACTIVE(instanceId);
    const { store, app, home } = this.#parts;
    for (const child of childrenOf(app, await home.history(instanceId))) {
      // A child may be another app's, whose home is its own affair: its record is in the engine's store.
      const stored = await readRecord(store, child.app, child.instanceId);
      if (stored !== undefined && !isTerminal(stored.record.status)) {
        throw errors.WORKFLOW_ACTIVE(child.instanceId);
      }
    }
  }

  #creation(request: StartRequest & { executionId: string }, before: StoredRecord | undefined): Creation {
    const { app, edges } = this.#parts;
    const { instanceId, scheduledMs, input, executionId } = request;
    const nowMs = edges.clock.now();
    const start = startEvent(request, executionId, nowMs);
    if (start.event.eventType.case !== "executionStarted") throw new Error("a start event starts");
    const begun = recordOf(start.event.eventType.value, app, nowMs);
    const mark = before?.record.home;
    const record = mark === undefined ? begun : { ...begun, home: mark };
    const etag = before?.etag ?? "";
    const mutations: Mutation[] = [putRecord(app, { id: instanceId, etag }, record)];
    if (before !== undefined) {
      mutations.push({ kind: "historyDelete", instance: historyName(app, instanceId) });
    }
    if (before !== undefined || input !== undefined) mutations.push(putInput(app, instanceId, input));
    const isScheduled = scheduledMs !== undefined && scheduledMs > nowMs;
    mutations.push(
      isScheduled
        ? timerSet(app, { instanceId, executionId, purpose: "start" }, scheduledMs, start.bytes)
        : toInbox(app, instanceId, start.bytes),
    );
    return { mutations, isScheduled, event: start, record, etag };
  }

  /** An event for an instance that exists; a finished one does not hear it. */
  async #send(instanceId: string, type: EventType): Promise<void> {
    await this.#metered("add_event", async () => {
      const { app, edges, commits, stalls, home } = this.#parts;
      const stored = await home.read(instanceId);
      if (stored === undefined) throw errors.WORKFLOW_NOT_FOUND();
      if (isTerminal(stored.record.status)) return;
      const { bytes } = makeEvent(edges.clock.now(), type);
      await commits.commit([toInbox(app, instanceId, bytes)]);
      stalls.wake(instanceId);
    });
  }

  async #settled(
    instanceId: string,
    isReached: (status: Status) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    // Without a worker nothing moves; what was asked for is kept until there is one.
    if (this.#parts.workers.count === 0) return;
    const isDone = (record: InstanceRecord | undefined) =>
      record === undefined || isTerminal(record.status) || isReached(record.status);
    await this.#wait(instanceId, isDone, signal);
  }

  async #awaited(
    instanceId: string,
    isDone: (record: InstanceRecord | undefined) => boolean,
    input: boolean,
    signal: AbortSignal,
  ): Promise<InstanceView> {
    const record = await this.#wait(instanceId, isDone, signal);
    if (record === undefined) throw errors.WORKFLOW_NOT_FOUND();
    return this.#view(instanceId, record, input);
  }

  async #view(id: string, record: InstanceRecord, wantsInput: boolean): Promise<InstanceView> {
    const { store, app } = this.#parts;
    const entry = wantsInput ? await store.get(inputSpace(app), id) : undefined;
    return entry === undefined
      ? { id, record }
      : { id, record, input: new TextDecoder().decode(entry.value) };
  }

  /** Resolves with the record once it is as wanted, or with what it is when the caller or the runtime gives up. */
  async #wait(
    instanceId: string,
    isDone: (record: InstanceRecord | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<InstanceRecord | undefined> {
    const { home, changes } = this.#parts;
    const either = AbortSignal.any([signal, this.#closing]);
    let known: InstanceRecord | undefined;
    for (;;) {
      // Waiting starts before the look: a change between the two is not missed.
      const changed = Promise.withResolvers<InstanceRecord | undefined>();
      const isOver = (record?: InstanceRecord): boolean => record === undefined || isDone(record);
      const stop = changes.wait(instanceId, (record) => isOver(record) && changed.resolve(record));
      const giveUp = (): void => changed.resolve(undefined);
      either.addEventListener("abort", giveUp, { once: true });
      try {
        known ??= (await home.read(instanceId))?.record;
        if (isDone(known)) return known;
        if (either.aborted) throw errors.WORKFLOW_WAIT_ENDED(instanceId);
        known = await changed.promise;
      } finally {
        stop();
        either.removeEventListener("abort", giveUp);
      }
    }
  }

  async #metered<T>(
    operation: Parameters<EngineParts["meters"]["operation"]>[0],
    work: () => Promise<T>,
  ): Promise<T> {
    const { meters, edges } = this.#parts;
    const startedMs = edges.clock.monotonicMs();
    try {
      const result = await work();
      meters.operation(operation, true, edges.clock.monotonicMs() - startedMs);
      return result;
    } catch (error) {
      meters.operation(operation, false, edges.clock.monotonicMs() - startedMs);
      throw error;
    }
  }
}

function startEvent(request: StartRequest, executionId: string, nowMs: number) {
  const { instanceId, name, version, input, scheduledMs, tags = {}, traceParent } = request;
  return makeEvent(nowMs, {
    case: "executionStarted",
    value: {
      name,
      ...(version === undefined ? {} : { version }),
      ...(input === undefined ? {} : { input }),
      workflowInstance: { instanceId, executionId },
      ...(scheduledMs === undefined ? {} : { scheduledStartTimestamp: timestampFromMs(scheduledMs) }),
      ...(traceParent === undefined ? {} : { parentTraceContext: traceContext(traceParent) }),
      tags,
    },
  });
}
