import { fromBinary } from "@bufbuild/protobuf";
import { StringValueSchema, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Mutation, Store } from "../store/store.ts";
import { childEnded } from "./child-ended.ts";
import type { Commits } from "./commits.ts";
import { decodeEvent, type EncodedEvent, failureRecord } from "./events.ts";
import { Facts } from "./facts.ts";
import { liveStatus, putInput, putRecord, readRecord } from "./instance.ts";
import type { FoundRow, InstanceRows } from "./instance-rows.ts";
import { toInbox } from "./messages.ts";
import { type AppName, propagatedSpace } from "./names.ts";
import { propagatedKey } from "./propagation.ts";
import { type HomeMark, type InstanceRecord, isTerminal } from "./record.ts";
import { recordOf } from "./start-event.ts";
import { stepAgain } from "./step-again.ts";

export interface AdoptionOptions {
  app: AppName;
  store: Store;
  commits: Commits;
  edges: Edges;
  log: Log;
  rows: InstanceRows;
}

/** Takes over instances that daprd, or a mecha with another engine's store, has left in a state store. */
export class Adoption {
  readonly #options: AdoptionOptions;

  constructor(options: AdoptionOptions) {
    this.#options = options;
  }

  /**
   * Gives the engine's store what belongs to the instance: its record, what waits in its inbox, and the steps that have
   * no result. A step that was under way elsewhere runs once more.
   */
  async adopt(instanceId: string, row: FoundRow, mark: HomeMark, etag: string): Promise<void> {
    const { app, commits, rows, log } = this.#options;
    if (row.signatureLength > 0)
      throw new Error(`the history of '${instanceId}' is signed, which is not supported`);
    const history = await rows.historyOf(instanceId, row);
    const inbox = await rows.inboxOf(instanceId, row);
    const found = recordFrom(app, history, inbox, await rows.value(instanceId, "customStatus"));
    const record = row.note?.record ?? found;
    if (record === undefined) throw new Error(`the rows of '${instanceId}' have no start`);
    const propagated = await rows.value(instanceId, "propagated-history");
    const own: InstanceRecord = { ...record, home: mark };
    if (propagated !== undefined) own.propagated = true;
    const key = propagatedKey(instanceId, record.executionId);
    const mutations: Mutation[] = [
      putRecord(app, { id: instanceId, etag }, own),
      ...(propagated === undefined
        ? []
        : [{ kind: "put" as const, space: propagatedSpace(app), key, value: propagated }]),
      putInput(app, instanceId, inputOf([...history, ...inbox])),
      ...inbox.map((bytes) => toInbox(app, instanceId, bytes, executionOf(bytes, record))),
      ...(isTerminal(record.status)
        ? this.#ended(record, row)
        : await this.#openSteps(instanceId, record, history)),
    ];
    await commits.commit(mutations);
    log.info({ instanceId }, "a workflow was taken over from the state store");
  }

  /** Its parent may not have been told; of daprd's the parent asks when it is taken over. */
  #ended(record: InstanceRecord, { note }: FoundRow): Mutation[] {
    return note === undefined ? [] : childEnded(record, this.#options.edges.clock.now());
  }

  async #openSteps(
    instanceId: string,
    record: InstanceRecord,
    history: readonly Uint8Array[],
  ): Promise<Mutation[]> {
    const { app, edges } = this.#options;
    const events = history.map(decodeEvent);
    const { open } = factsOfEvents(events);
    const { executionId, name } = record;
    const nowMs = edges.clock.now();
    const newId = () => edges.random.uuid();
    const owner = { app, instanceId, executionId, name, history: [...history], nowMs, newId };
    const mutations: Mutation[] = [];
    for (const { event } of events) {
      const step = open.get(event.eventId);
      if (step === undefined) continue;
      if (step.kind === "child" && (await this.#isKnown(step, mutations))) continue;
      mutations.push(...stepAgain(event, owner));
    }
    return mutations;
  }

  /** A child that exists is not started again; one that has ended says so once more. */
  async #isKnown(
    {
      instanceId,
      appId,
      namespace,
    }: { instanceId: string; appId: string | undefined; namespace: string | undefined },
    mutations: Mutation[],
  ): Promise<boolean> {
    const { app, store, rows, edges } = this.#options;
    const child = { appId: appId ?? app.appId, namespace: namespace ?? app.namespace };
    const known = (await readRecord(store, child, instanceId))?.record;
    const isOwn = child.appId === app.appId && child.namespace === app.namespace;
    const record = known ?? (isOwn ? await this.#recordIn(rows, instanceId) : undefined);
    if (record === undefined) return false;
    if (isTerminal(record.status)) mutations.push(...childEnded(record, edges.clock.now()));
    return true;
  }

  async #recordIn(rows: InstanceRows, instanceId: string): Promise<InstanceRecord | undefined> {
    const row = await rows.find(instanceId);
    if (row === undefined) return undefined;
    const inbox = await rows.inboxOf(instanceId, row);
    return (
      row.note?.record ?? recordFrom(this.#options.app, await rows.history(instanceId), inbox, undefined)
    );
  }
}

/** What a history tells of its instance; `undefined` when it has no start. */
export function recordFrom(
  app: AppName,
  history: readonly Uint8Array[],
  inbox: readonly Uint8Array[],
  customStatus: Uint8Array | undefined,
): InstanceRecord | undefined {
  const events = history.map(decodeEvent);
  const started = startOf([...events, ...inbox.map(decodeEvent)]);
  if (started === undefined) return undefined;
  const { eventType } = started.event;
  if (eventType.case !== "executionStarted") return undefined;
  const createdMs = msOf(started.event.timestamp);
  const facts = factsOfEvents(events);
  const record = { ...recordOf(eventType.value, app, createdMs), status: liveStatus(facts) };
  const last = events.at(-1)?.event;
  if (last !== undefined) record.updatedMs = msOf(last.timestamp);
  if (facts.isStarted) record.startedMs = msOf(events[0]?.event.timestamp);
  const status = customStatus && fromBinary(StringValueSchema, customStatus).value;
  if (status) record.customStatus = status;
  if (last?.eventType.case !== "executionCompleted") return record;
  const { workflowStatus, result, failureDetails } = last.eventType.value;
  record.status = workflowStatus;
  record.completedMs = msOf(last.timestamp);
  if (result !== undefined) record.output = result;
  if (failureDetails !== undefined) record.failure = failureRecord(failureDetails);
  return record;
}

function startOf(events: readonly EncodedEvent[]): EncodedEvent | undefined {
  return events.find(({ event }) => event.eventType.case === "executionStarted");
}

function inputOf(events: readonly Uint8Array[]): string | undefined {
  const type = startOf(events.map(decodeEvent))?.event.eventType;
  return type?.case === "executionStarted" ? type.value.input : undefined;
}

/** A start names its execution itself. */
function executionOf(bytes: Uint8Array, { executionId }: InstanceRecord): string | undefined {
  return decodeEvent(bytes).event.eventType.case === "executionStarted" ? undefined : executionId;
}

function factsOfEvents(events: readonly EncodedEvent[]): Facts {
  const facts = new Facts();
  for (const { event } of events) facts.note(event);
  return facts;
}

function msOf(timestamp: Timestamp | undefined): number {
  return timestamp === undefined ? 0 : timestampMs(timestamp);
}
