import type { Delivery, Mutation } from "../store/store.ts";
import type { Instance, StoredRecord } from "./instance.ts";
import type { InstanceRecord } from "./record.ts";

/** What a turn leaves behind, all of it or nothing. */
export interface TurnSave {
  /** As it was before the turn. */
  instance: Instance;
  record: InstanceRecord;
  events: Uint8Array[];
  /** The history starts anew with `events`. */
  isNewHistory: boolean;
  /** The messages that the turn has handled. */
  deliveries: readonly Delivery[];
  /** What leaves the instance: messages, activities, timers. */
  mutations: readonly Mutation[];
}

/** What the next turn of this runtime needs to know of a save. */
export type Saved = Pick<Instance, "record" | "etag">;

/**
 * Where the instances of an app are kept. Records, messages, activities and timers are always in the engine's store;
 * histories are there too, or in a state store of the user's.
 */
export interface InstanceHome {
  /** Called when a worker has come. */
  open?(): void;
  close?(): Promise<void>;
  /** The record as clients see it. */
  read(instanceId: string): Promise<StoredRecord | undefined>;
  /** The same, once all has been carried out that the last turn decided: whoever changes an instance begins here. */
  settle(instanceId: string): Promise<StoredRecord | undefined>;
  /** The whole instance for a turn; `cached` is what the last turn of this runtime left of it. */
  load(instanceId: string, cached?: Instance): Promise<Instance | undefined> | Instance;
  /** Encoded events. */
  history(instanceId: string): Promise<Uint8Array[]>;
  /** Rejects with `StoreConflict` when somebody else has gone on with the instance or its messages. */
  save(turn: TurnSave): Promise<Saved>;
  /** Ends messages that need no turn. */
  dismiss(
    instance: Instance | undefined,
    deliveries: readonly Delivery[],
    mutations: readonly Mutation[],
  ): Promise<void>;
  /** Removes what is outside of the engine's store; the record goes after it. */
  remove(instanceId: string): Promise<void>;
}
