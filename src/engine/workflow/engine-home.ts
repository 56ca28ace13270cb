import type { Delivery, Mutation, Store } from "../store/store.ts";
import type { Commits } from "./commits.ts";
import type { InstanceHome, Saved, TurnSave } from "./home.ts";
import { type Instance, loadInstance, putRecord, readRecord, type StoredRecord } from "./instance.ts";
import { type AppName, historyName } from "./names.ts";

/** Everything in the engine's store: a turn is one commit. */
export class EngineHome implements InstanceHome {
  readonly #store: Store;
  readonly #app: AppName;
  readonly #commits: Commits;

  constructor({ store, app, commits }: { store: Store; app: AppName; commits: Commits }) {
    this.#store = store;
    this.#app = app;
    this.#commits = commits;
  }

  read(instanceId: string): Promise<StoredRecord | undefined> {
    return readRecord(this.#store, this.#app, instanceId);
  }

  settle(instanceId: string): Promise<StoredRecord | undefined> {
    return this.read(instanceId).then(checked);
  }

  load(instanceId: string, cached?: Instance): Promise<Instance | undefined> | Instance {
    return cached ?? this.#load(instanceId);
  }

  history(instanceId: string): Promise<Uint8Array[]> {
    return this.#store.readHistory(historyName(this.#app, instanceId), 0);
  }

  async save({ instance, record, events, isNewHistory, deliveries, mutations }: TurnSave): Promise<Saved> {
    const name = historyName(this.#app, instance.id);
    const isNew = isNewHistory || instance.history.length === 0;
    const outcomes = await this.#commits.commit([
      ...acksOf(deliveries),
      putRecord(this.#app, instance, record),
      ...(isNew ? [{ kind: "historyDelete" as const, instance: name }] : []),
      { kind: "history", instance: name, expectedLength: isNew ? 0 : instance.history.length, events },
      ...mutations,
    ]);
    return { record, etag: outcomes[deliveries.length]?.etag ?? "" };
  }

  async dismiss(
    _instance: Instance | undefined,
    deliveries: readonly Delivery[],
    mutations: readonly Mutation[],
  ): Promise<void> {
    await this.#commits.commit([...acksOf(deliveries), ...mutations]);
  }

  async remove(): Promise<void> {}

  async #load(instanceId: string): Promise<Instance | undefined> {
    return checked(await loadInstance(this.#store, this.#app, instanceId));
  }
}

/** Nothing is done to an instance whose history is elsewhere. */
function checked<T extends StoredRecord>(stored: T | undefined): T | undefined {
  const { home } = stored?.record ?? {};
  if (home === undefined) return stored;
  throw new Error(
    `the workflow is kept in the state store ${home.store}, which is not the actor state store now`,
  );
}

export function acksOf(deliveries: readonly Delivery[]): Mutation[] {
  return deliveries.map((delivery): Mutation => ({ kind: "ack", delivery }));
}
