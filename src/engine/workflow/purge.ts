import { errors } from "../../errors.ts";
import { type Mutation, StoreConflict } from "../store/store.ts";
import { type ChildName, childrenOf } from "./children.ts";
import type { EngineParts } from "./engine-parts.ts";
import { readRecord } from "./instance.ts";
import { historyName, inputSpace, recordSpace, timerSpace } from "./names.ts";
import { isTerminal } from "./record.ts";

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
  const { app, store } = parts;
  const { instanceId, recursive, force, executionId } = request;
  const root = await readRecord(store, app, instanceId);
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
    if (recursive) names.push(...(await childrenOf(store, name.app, name.instanceId)));
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
  const { store, commits, changes } = parts;
  const stored = await readRecord(store, app, instanceId);
  if (stored === undefined || !(force || isTerminal(stored.record.status))) return false;
  const space = timerSpace(app);
  const timers = await store.listTimers(space, { prefix: `${instanceId}|`, limit: timersMax });
  const mutations: Mutation[] = [
    { kind: "delete", space: recordSpace(app), key: instanceId, etag: stored.etag },
    { kind: "delete", space: inputSpace(app), key: instanceId },
    { kind: "historyDelete", instance: historyName(app, instanceId) },
    ...timers
      // The timer that purges is ended by the pump.
      .filter(({ id }) => !id.endsWith("|purge"))
      .map(({ id }): Mutation => ({ kind: "timerDelete", space, id })),
  ];
  await commits.commit(mutations);
  changes.notify(instanceId);
  return true;
}

/** Timers of one instance; more than these are recognised as orphans when they fire. */
const timersMax = 10_000;
