import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type Delivery, type Mutation, type Store, StoreConflict } from "../store/store.ts";
import { Adoption, recordFrom } from "./adoption.ts";
import type { Commits } from "./commits.ts";
import { acksOf } from "./engine-home.ts";
import type { InstanceHome, Saved, TurnSave } from "./home.ts";
import { bytesOf, factsOf, type Instance, putRecord, readRecord, type StoredRecord } from "./instance.ts";
import { type FoundRow, InstanceRows } from "./instance-rows.ts";
import type { InstanceStore } from "./instance-store.ts";
import type { TurnNote } from "./metadata-row.ts";
import { type AppName, historyName, homeSpace, inputSpace, propagatedSpace, recordSpace } from "./names.ts";
import { propagatedKey } from "./propagation.ts";
import { type HomeMark, type InstanceRecord, isTerminal } from "./record.ts";

export interface ComponentHomeOptions {
  app: AppName;
  store: Store;
  commits: Commits;
  edges: Edges;
  log: Log;
  instances: InstanceStore;
}

interface Found {
  stored: StoredRecord | undefined;
  row: FoundRow | undefined;
}

const settleTriesMax = 5;

/**
 * Histories in a state store of the user's; records, messages, activities and timers in the engine's store.
 *
 * Two stores have no common commit. A turn is first saved in the user's store, in one transaction that holds what the
 * engine's store is to do as well (`TurnNote`). Then one commit of the engine's store does it and marks the record with
 * the turn. Whoever finds a saved turn that the record does not know, after a crash in between, makes up for that commit
 * first. The saved turn also tells which messages it has handled: they come again, and are only acknowledged.
 */
export class ComponentHome implements InstanceHome {
  readonly #options: ComponentHomeOptions;
  readonly #rows: InstanceRows;
  readonly #adoption: Adoption;
  #engineId: Promise<string> | undefined;
  #opening: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: ComponentHomeOptions) {
    this.#options = options;
    this.#rows = new InstanceRows(options.instances, options.app);
    this.#adoption = new Adoption({ ...options, rows: this.#rows });
  }

  /** Workflows that daprd has left in the store go on here, once. */
  open(): void {
    const { log, instances } = this.#options;
    this.#opening ??= this.#adoptAll().catch((error) => {
      if (this.#isClosed) return;
      log.warn({ error }, `workflows in the state store ${instances.name} could not all be taken over`);
      // The next worker asks again.
      this.#opening = undefined;
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opening;
  }

  async read(instanceId: string): Promise<StoredRecord | undefined> {
    const { stored, row } = await this.#find(instanceId);
    if (row === undefined) return stored?.record.home === undefined ? stored : undefined;
    return stored?.record.home?.turn === turnOf(row) ? stored : this.#viewOf(instanceId, stored, row);
  }

  async settle(instanceId: string): Promise<StoredRecord | undefined> {
    return (await this.#settled(instanceId, false)).stored;
  }

  async load(instanceId: string, cached?: Instance): Promise<Instance | undefined> {
    if (cached !== undefined) {
      const row = await this.#rows.find(instanceId);
      const isSame = row !== undefined && turnOf(row) === cached.record.home?.turn;
      if (isSame) return { ...cached, stored: row };
    }
    const { stored, row } = await this.#settled(instanceId, true);
    if (stored === undefined) return undefined;
    const history = await this.#historyFor(instanceId, stored.record, row);
    const facts = factsOf(history);
    return { id: instanceId, ...stored, stored: row, history, facts, bytes: bytesOf(history) };
  }

  async history(instanceId: string): Promise<Uint8Array[]> {
    const { stored, row } = await this.#find(instanceId);
    if (row === undefined) return this.#engineHistory(instanceId);
    // A start that waits for its turn has none, whatever an earlier execution of the id has left.
    const isPending = stored?.record.home?.turn === turnOf(row) && isOlder(row, stored.record);
    return isPending ? [] : this.#rows.history(instanceId);
  }

  async save(turn: TurnSave): Promise<Saved> {
    const { instance, deliveries } = turn;
    const { app, commits, edges, instances } = this.#options;
    const { home, ...record } = turn.record;
    const earlier = home?.unacked ?? [];
    const offsets = deliveries.map(({ offset }) => offset);
    const note: TurnNote = {
      turn: edges.random.uuid(),
      before: home?.turn,
      engine: await this.#engine(),
      record,
      handled: [...new Set([...earlier, ...offsets])],
      mutations: [...this.#leavingEngine(instance), ...turn.mutations],
    };
    await this.#rows.save({ ...this.#rowsOf(turn), propagated: await this.#propagated(turn), note });
    const mark = markWith(instances.name, note.turn, without(earlier, offsets));
    const saved = { ...record, home: mark };
    const outcomes = await commits.commit([
      ...acksOf(deliveries),
      putRecord(app, instance, saved),
      ...note.mutations,
    ]);
    return { record: saved, etag: outcomes[deliveries.length]?.etag ?? "" };
  }

  async dismiss(
    instance: Instance | undefined,
    deliveries: readonly Delivery[],
    mutations: readonly Mutation[],
  ): Promise<void> {
    const { app, commits } = this.#options;
    const { home, ...record } = instance?.record ?? {};
    const offsets = deliveries.map(({ offset }) => offset);
    const known = instance !== undefined && offsets.some((offset) => home?.unacked?.includes(offset));
    const left = without(home?.unacked ?? [], offsets);
    const noted = { ...record, home: markWith(home?.store ?? "", home?.turn ?? "", left) } as InstanceRecord;
    await commits.commit([
      ...acksOf(deliveries),
      ...(known ? [putRecord(app, instance, noted)] : []),
      ...mutations,
    ]);
  }

  async remove(instanceId: string): Promise<void> {
    const row = await this.#rows.find(instanceId);
    if (row !== undefined) await this.#rows.remove(instanceId, row);
  }

  async #find(instanceId: string): Promise<Found> {
    const { store, app, instances } = this.#options;
    const stored = await readRecord(store, app, instanceId);
    const { home } = stored?.record ?? {};
    if (home !== undefined && home.store !== instances.name) {
      throw new Error(`the workflow is kept in the state store ${home.store}, not in ${instances.name}`);
    }
    return { stored, row: await this.#rows.find(instanceId) };
  }

  /** `takesOver`: also what another engine has left, which may be at it still. */
  async #settled(instanceId: string, takesOver: boolean): Promise<Found> {
    for (let tries = 1; ; tries++) {
      const found = await this.#find(instanceId);
      try {
        const settled = await this.#settleOnce(instanceId, found, takesOver);
        if (settled !== undefined) return settled;
      } catch (error) {
        // Somebody else was faster: what they made counts.
        if (!(error instanceof StoreConflict) || tries === settleTriesMax) throw error;
      }
    }
  }

  /** `undefined` after it has changed something: all has to be read anew. */
  async #settleOnce(instanceId: string, found: Found, takesOver: boolean): Promise<Found | undefined> {
    const { stored, row } = found;
    const { home } = stored?.record ?? {};
    if (row === undefined) {
      if (stored === undefined || home === undefined) return found;
      return this.#forget(instanceId, stored);
    }
    if (home?.turn === turnOf(row)) return found;
    const { note } = row;
    const isOwn = note?.engine === (await this.#engine());
    if (isOwn && note.before === home?.turn) return this.#carryOut(instanceId, stored, note);
    // Otherwise another engine's, or this one's from before its store was set back: turns in between are lost.
    if (!takesOver) {
      const view = await this.#viewOf(instanceId, stored, row);
      if (view !== undefined && !isTerminal(view.record.status)) return { stored: view, row };
    }
    await this.#adoption.adopt(instanceId, row, this.#markOf(row), stored?.etag ?? "");
    return undefined;
  }

  /** Somebody has removed the rows. */
  async #forget(instanceId: string, { etag }: StoredRecord): Promise<undefined> {
    const { commits, app, instances, log } = this.#options;
    log.warn({ instanceId }, `the rows of a workflow are gone from the state store ${instances.name}`);
    await commits.commit([
      { kind: "delete", space: recordSpace(app), key: instanceId, etag },
      { kind: "delete", space: inputSpace(app), key: instanceId },
    ]);
  }

  /** What the engine's store was not told before a crash. */
  async #carryOut(instanceId: string, stored: StoredRecord | undefined, note: TurnNote): Promise<undefined> {
    const { app, commits, instances } = this.#options;
    const record = { ...note.record, home: markWith(instances.name, note.turn, note.handled) };
    const etag = stored?.etag ?? "";
    await commits.commit([putRecord(app, { id: instanceId, etag }, record), ...note.mutations]);
  }

  async #adoptAll(): Promise<void> {
    const { store, commits, app, instances, log } = this.#options;
    const [space, key] = [homeSpace(app), `adopted:${instances.name}`];
    if ((await store.get(space, key)) !== undefined) return;
    let adopted = 0;
    for await (const instanceId of this.#rows.ids()) {
      if (this.#isClosed) return;
      const { row, stored } = await this.#find(instanceId);
      if (row === undefined) continue;
      if (row.note !== undefined) {
        if (stored === undefined) await this.#list(instanceId, row, row.note);
        continue;
      }
      await this.#settled(instanceId, true);
      adopted += 1;
    }
    if (adopted > 0)
      log.info({}, `${adopted} workflows of daprd taken over from the state store ${instances.name}`);
    await commits.commit([{ kind: "put", space, key, value: new Uint8Array(0) }]);
  }

  /** Another engine's instance, which may be at it still: it is in the list, and nothing more. */
  async #list(instanceId: string, row: FoundRow, { engine, turn, record }: TurnNote): Promise<void> {
    const { app, commits } = this.#options;
    if (engine === (await this.#engine())) return;
    const home = { ...this.#markOf(row), turn: `elsewhere:${turn}` };
    const put = putRecord(app, { id: instanceId, etag: "" }, { ...record, home });
    await commits.commit([put]).catch((error) => {
      if (!(error instanceof StoreConflict)) throw error;
    });
  }

  /** The id of the engine's store: messages of another one have other offsets. */
  #engine(): Promise<string> {
    this.#engineId ??= this.#readEngine().catch((error) => {
      this.#engineId = undefined;
      throw error;
    });
    return this.#engineId;
  }

  async #readEngine(): Promise<string> {
    const { store, app, edges } = this.#options;
    const [space, key] = [homeSpace(app), "engine"];
    const value = new TextEncoder().encode(edges.random.uuid());
    await store.commit([{ kind: "put", space, key, value, ifAbsent: true }]).catch((error) => {
      if (!(error instanceof StoreConflict)) throw error;
    });
    const entry = await store.get(space, key);
    if (entry === undefined) throw new Error("the engine's store has lost its id");
    return new TextDecoder().decode(entry.value);
  }

  #markOf(row: FoundRow): HomeMark {
    return { store: this.#options.instances.name, turn: turnOf(row) };
  }

  /** What the rows say of the instance, whatever the engine's store knows. */
  async #viewOf(
    instanceId: string,
    stored: StoredRecord | undefined,
    row: FoundRow,
  ): Promise<StoredRecord | undefined> {
    const record = row.note?.record ?? (await this.#recordFrom(instanceId, row));
    return record && { record: { ...record, home: this.#markOf(row) }, etag: stored?.etag ?? "" };
  }

  async #recordFrom(instanceId: string, row: FoundRow): Promise<InstanceRecord | undefined> {
    const history = await this.#rows.history(instanceId);
    const inbox = await this.#rows.inboxOf(instanceId, row);
    return recordFrom(this.#options.app, history, inbox, await this.#rows.value(instanceId, "customStatus"));
  }

  /** Rows of an earlier execution are no history of this one. */
  async #historyFor(
    instanceId: string,
    record: InstanceRecord,
    row: FoundRow | undefined,
  ): Promise<Uint8Array[]> {
    if (row === undefined) return this.#engineHistory(instanceId);
    if (isOlder(row, record)) return [];
    const history = await this.#rows.historyOf(instanceId, row);
    if (row.note !== undefined || history.length === 0) return history;
    const theirs = recordFrom(this.#options.app, history, [], undefined);
    return theirs?.executionId === record.executionId ? history : [];
  }

  /** Of an instance that began before the state store was configured, or by a rerun. */
  #engineHistory(instanceId: string): Promise<Uint8Array[]> {
    return this.#options.store.readHistory(historyName(this.#options.app, instanceId), 0);
  }

  #leavingEngine({ id, stored, history }: Instance): Mutation[] {
    if (stored !== undefined || history.length === 0) return [];
    return [{ kind: "historyDelete", instance: historyName(this.#options.app, id) }];
  }

  /** What the execution that begins with the turn was handed: by the turn before it, or beside its start. */
  async #propagated({
    instance,
    record,
    isNewHistory,
    mutations,
  }: TurnSave): Promise<Uint8Array | undefined> {
    if (record.propagated !== true || !(isNewHistory || instance.history.length === 0)) return undefined;
    const { store, app } = this.#options;
    const [space, key] = [propagatedSpace(app), propagatedKey(instance.id, record.executionId)];
    const put = mutations.find((each) => each.kind === "put" && each.space === space && each.key === key);
    return put?.kind === "put" ? put.value : (await store.get(space, key))?.value;
  }

  #rowsOf({ instance, record, events, isNewHistory }: TurnSave) {
    const { id: instanceId, stored: before, history } = instance;
    const isNew = isNewHistory || history.length === 0;
    const shared = { instanceId, before, customStatus: record.customStatus };
    if (before === undefined) {
      const all = isNew ? events : history.concat(events);
      return { ...shared, from: 0, events: all, generation: 1 };
    }
    const follows = isNew && before.historyLength > 0;
    const generation = before.generation + (follows ? 1 : 0);
    return { ...shared, from: isNew ? 0 : history.length, events, generation };
  }
}

/** The turn that wrote the rows. */
function turnOf({ note, etag }: FoundRow): string {
  return note?.turn ?? `daprd:${etag}`;
}

/** The rows are those of another execution than the record's. */
function isOlder({ note }: FoundRow, record: InstanceRecord): boolean {
  return note !== undefined && note.record.executionId !== record.executionId;
}

function markWith(store: string, turn: string, unacked: number[]): HomeMark {
  return unacked.length === 0 ? { store, turn } : { store, turn, unacked };
}

function without(offsets: readonly number[], gone: readonly number[]): number[] {
  return offsets.filter((offset) => !gone.includes(offset));
}
