import { errors } from "../../errors.ts";
import { type Mutation, StoreConflict } from "../store/store.ts";
import { type ChildName, childrenOf } from "./children.ts";
import type { EngineParts } from "./engine-parts.ts";
import { readRecord } from "./instance.ts";
import { type TimerName, timerSet } from "./messages.ts";
import { type AppName, historyName, inputSpace, isSameApp, recordSpace, timerSpace } from "./names.ts";
import { dropPropagated, propagatedKey } from "./propagation.ts";
import { type InstanceRecord, isTerminal } from "./record.ts";

export interface PurgeRequest {
  instanceId: string;
  /** Children too, and theirs. */
  recursive: boolean;
  /** Also instances that still run. */
  force: boolean;
  /** Only when it is this execution. */
  executionId?: string;
}

/** Removes instances and everything they have left behind; returns how many. Throws Faults. */
export async function purge(parts: EngineParts, request: PurgeRequest): Promise<number> {
  const { meters, edges } = parts;
  const startedMs = edges.clock.monotonicMs();
  try {
    const removed = await purgeTree(parts, request);
    meters.operation("purge_workflow", true, edges.clock.monotonicMs() - startedMs);
    return removed;
  } catch (error) {
    meters.operation("purge_workflow", false, edges.clock.monotonicMs() - startedMs);
    if (error instanceof StoreConflict) throw errors.WORKFLOW_NOT_COMPLETED({ cause: error });
    throw error;
  }
}

async function purgeTree(parts: EngineParts, request: PurgeRequest): Promise<number> {
  const { app, home } = parts;
  const { instanceId, recursive, force, executionId } = request;
  const root = await home.settle(instanceId);
  if (root === undefined) throw errors.WORKFLOW_NOT_FOUND();
  if (executionId !== undefined && root.record.executionId !== executionId) return 0;
  if (!force && !isTerminal(root.record.status)) throw errors.WORKFLOW_NOT_COMPLETED();
  const names: ChildName[] = [{ app, instanceId }];
  // Breadth first; an instance that names itself as its child does not go round for ever.
  const seen = new Set<string>();
  let removed = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const key = historyName(name.app, name.instanceId);
    if (seen.has(key)) continue;
    seen.add(key);
    if (recursive) names.push(...(await childrenIn(parts, name)));
    if (await purgeOne(parts, name, force)) removed += 1;
  }
  return removed;
}

/** False when there is nothing to purge, or a child that still runs. */
async function purgeOne(
  parts: EngineParts,
  { app, instanceId }: ChildName,
  force: boolean,
): Promise<boolean> {
  const { store, changes, home } = parts;
  const isOwn = isSameApp(app, parts.app);
  const stored = await (isOwn ? home.settle(instanceId) : readRecord(store, app, instanceId));
  if (stored === undefined || !(force || isTerminal(stored.record.status))) return false;
  if (!isOwn) return purgeThere(parts, { app, instanceId }, stored.record, force);
  await home.remove(instanceId);
  const space = timerSpace(app);
  const timers = await store.listTimers(space, { prefix: `${instanceId}|`, limit: timersMax });
  const others: Mutation[] = [
    { kind: "delete", space: inputSpace(app), key: instanceId },
    { kind: "historyDelete", instance: historyName(app, instanceId) },
    ...(stored.record.propagated === true
      ? [dropPropagated(app, propagatedKey(instanceId, stored.record.executionId))]
      : []),
    ...timers
      // The timer that purges is ended by the pump.
      .filter(({ id }) => !id.endsWith("|purge"))
      .map(({ id }): Mutation => ({ kind: "timerDelete", space, id })),
  ];
  await removeEnded(parts, { app, instanceId }, stored, others);
  changes.notify(instanceId);
  return true;
}

/** An ended instance still drops what comes late, such as the result of a step: then its record has another etag. */
async function removeEnded(
  { store, commits }: EngineParts,
  { app, instanceId }: ChildName,
  { record, etag }: { record: InstanceRecord; etag: string },
  others: readonly Mutation[],
): Promise<void> {
  let expected = etag;
  for (let tries = 1; ; tries++) {
    const whole = { kind: "delete", space: recordSpace(app), key: instanceId } as const;
    try {
      await commits.commit([{ ...whole, etag: expected || undefined }, ...others]);
      return;
    } catch (error) {
      if (!(error instanceof StoreConflict) || tries === removalsMax) throw error;
      const now = await readRecord(store, app, instanceId);
      if (now === undefined) return;
      if (now.record.executionId !== record.executionId || !isTerminal(now.record.status)) throw error;
      expected = now.etag;
    }
  }
}

/** Another app's instance: its runtime purges it when this app may ask for that, and what belongs to it. */
async function purgeThere(
  { app, commits, edges }: EngineParts,
  child: ChildName,
  { executionId }: InstanceRecord,
  isForced: boolean,
): Promise<boolean> {
  const name = { instanceId: child.instanceId, executionId, purpose: "purge" as const };
  const order: PurgeOrder = { appId: app.appId, namespace: app.namespace, isForced };
  const data = new TextEncoder().encode(JSON.stringify(order));
  await commits.commit([timerSet(child.app, name, edges.clock.now(), data)]);
  return true;
}

/** What the timer of another app's purge says. */
interface PurgeOrder extends AppName {
  isForced: boolean;
}

/** Purges what a timer names: its time is over, or another app wants it. */
export async function purgeByTimer(parts: EngineParts, name: TimerName, data: Uint8Array): Promise<void> {
  const { instanceId, executionId } = name;
  const order =
    data.byteLength === 0 ? undefined : (JSON.parse(new TextDecoder().decode(data)) as PurgeOrder);
  if (order !== undefined) {
    const stored = await parts.home.read(instanceId);
    const asked = {
      kind: "workflow" as const,
      operation: "purge" as const,
      name: stored?.record.name ?? "",
      instanceId,
    };
    if (!parts.gate.admits(order, asked)) return;
  }
  await purge(parts, { instanceId, executionId, recursive: true, force: order?.isForced === true });
}

/** Children of other apps have theirs purged by their own runtime. */
async function childrenIn({ app, home }: EngineParts, name: ChildName): Promise<ChildName[]> {
  return isSameApp(name.app, app) ? childrenOf(app, await home.history(name.instanceId)) : [];
}

/** How often a purge gives way to what comes late. */
const removalsMax = 10;
/** Timers of one instance; more than these are recognised as orphans when they fire. */
const timersMax = 10_000;
