import { toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { EtagMismatch, type StateOperation } from "../../component/state-store.ts";
import { StoreConflict } from "../store/store.ts";
import type { InstanceStore } from "./instance-store.ts";
import { decodeMetadata, encodeMetadata, type MetadataRow, type TurnNote } from "./metadata-row.ts";
import type { AppName } from "./names.ts";
import { Stalled } from "./turn.ts";

/** The metadata row with the etag that guards whatever is decided on it. */
export interface FoundRow extends MetadataRow {
  etag: string;
}

export interface RowsSave {
  instanceId: string;
  /** What is there now; absent: nothing. */
  before: Pick<FoundRow, "etag" | "generation" | "historyLength" | "inboxLength"> | undefined;
  /** Index of the first of `events` in the history. What was at it and after it goes. */
  from: number;
  events: readonly Uint8Array[];
  generation: number;
  customStatus: string | undefined;
  /** What the execution was handed by its parent: with its first turn. */
  propagated: Uint8Array | undefined;
  note: TurnNote;
}

/** Rows of one read. */
const readMax = 500;
const readTriesMax = 5;

/** The rows of an app's workflows in a state store, in Dapr's own layout (dapr-api.md §10.5). */
export class InstanceRows {
  readonly #store: InstanceStore;
  readonly #prefix: string;

  constructor(store: InstanceStore, { namespace, appId }: AppName) {
    this.#store = store;
    this.#prefix = `${appId}||dapr.internal.${namespace || "default"}.${appId}.workflow||`;
  }

  async find(instanceId: string): Promise<FoundRow | undefined> {
    const request = { key: this.#key(instanceId, "metadata"), metadata: this.#metadata(instanceId) };
    const entry = await this.#store.get(request);
    if (entry === undefined || entry.value.byteLength === 0) return undefined;
    return { ...decodeMetadata(entry.value), etag: entry.etag };
  }

  /** The events of one moment: a save between the reads is noticed. */
  async history(instanceId: string): Promise<Uint8Array[]> {
    for (let tries = 1; ; tries++) {
      const row = await this.find(instanceId);
      if (row === undefined) return [];
      const events = await this.#read(instanceId, "history", row.historyLength);
      const isWhole = events.length === row.historyLength;
      if (isWhole && (await this.find(instanceId))?.etag === row.etag) return events;
      if (tries < readTriesMax) continue;
      throw new Error(`the history of '${instanceId}' has ${events.length} of ${row.historyLength} rows`);
    }
  }

  /** The events that a turn builds on: its save fails when they have changed since `row` was read. */
  async historyOf(instanceId: string, row: FoundRow): Promise<Uint8Array[]> {
    const events = await this.#read(instanceId, "history", row.historyLength);
    if (events.length === row.historyLength) return events;
    throw new Error(`the history of '${instanceId}' has ${events.length} of ${row.historyLength} rows`);
  }

  /** Events that daprd was still to handle. */
  inboxOf(instanceId: string, row: FoundRow): Promise<Uint8Array[]> {
    return this.#read(instanceId, "inbox", row.inboxLength);
  }

  /** A row that an instance may have or not. */
  async value(
    instanceId: string,
    name: "customStatus" | "propagated-history",
  ): Promise<Uint8Array | undefined> {
    const request = { key: this.#key(instanceId, name), metadata: this.#metadata(instanceId) };
    return (await this.#store.get(request))?.value;
  }

  /** One transaction, guarded by the etag of the metadata row. Rejects with `StoreConflict`. */
  async save(save: RowsSave): Promise<void> {
    const { instanceId, before, from, events, generation, customStatus, propagated, note } = save;
    const { historyLength: oldLength = 0, inboxLength = 0, etag } = before ?? {};
    const historyLength = from + events.length;
    const status = toBinary(StringValueSchema, {
      $typeName: "google.protobuf.StringValue",
      value: customStatus ?? "",
    });
    const operations = [
      ...events.map((bytes, index) => this.#put(instanceId, entryName("history", from + index), bytes)),
      ...this.#deletions(instanceId, "history", historyLength, oldLength),
      ...this.#deletions(instanceId, "inbox", 0, inboxLength),
      this.#put(instanceId, "customStatus", status),
    ];
    if (propagated !== undefined) operations.push(this.#put(instanceId, "propagated-history", propagated));
    else if (from === 0 && oldLength > 0) operations.push(this.#delete(instanceId, "propagated-history"));
    const guard = etag === undefined ? { concurrency: "first-write" as const } : { etag };
    const metadata = encodeMetadata({ historyLength, generation, note });
    operations.push(this.#put(instanceId, "metadata", metadata, guard));
    const { operationsMax } = this.#store;
    if (operationsMax !== undefined && operationsMax > 0 && operations.length > operationsMax) {
      const why = `the turn changes ${operations.length} rows, and the state store ${this.#store.name} takes ${operationsMax} in a transaction`;
      throw new Stalled("PAYLOAD_SIZE_EXCEEDED", why);
    }
    await this.#transact(instanceId, operations);
  }

  /** Removes all rows of an instance, the metadata first: without it there is no instance. */
  async remove(instanceId: string, row: FoundRow): Promise<void> {
    const guard = { etag: row.etag };
    const operations = [
      this.#delete(instanceId, "metadata", guard),
      this.#delete(instanceId, "customStatus"),
      this.#delete(instanceId, "propagated-history"),
      ...this.#deletions(instanceId, "history", 0, row.historyLength),
      ...this.#deletions(instanceId, "inbox", 0, row.inboxLength),
      ...this.#deletions(instanceId, "signature", 0, row.signatureLength),
      ...this.#deletions(instanceId, "sigcert", 0, row.certificateLength),
      ...this.#deletions(instanceId, "ext-sigcert", 0, row.foreignCertificateLength),
    ];
    const max = this.#store.operationsMax || operations.length;
    for (let at = 0; at < operations.length; at += max) {
      await this.#transact(instanceId, operations.slice(at, at + max));
    }
  }

  /** All instances that have rows; none when the store can not list. */
  async *ids(): AsyncGenerator<string> {
    const { keysLike } = this.#store;
    if (keysLike === undefined) return;
    const ending = "||metadata";
    const pattern = `${this.#prefix.replace(/[%_\\]/g, "\\$&")}%${ending}`;
    let token: string | undefined;
    do {
      const page = await keysLike({ pattern, limit: readMax, token });
      for (const key of page.keys) yield key.slice(this.#prefix.length, -ending.length);
      token = page.token;
    } while (token !== undefined && token !== "");
  }

  async #read(instanceId: string, kind: string, length: number): Promise<Uint8Array[]> {
    const values: Uint8Array[] = [];
    const metadata = this.#metadata(instanceId);
    for (let at = 0; at < length; at += readMax) {
      const count = Math.min(readMax, length - at);
      const keys = Array.from({ length: count }, (_, index) =>
        this.#key(instanceId, entryName(kind, at + index)),
      );
      const entries = await this.#store.bulkGet(keys.map((key) => ({ key, metadata })));
      const byKey = new Map(entries.map((entry) => [entry.key, entry]));
      for (const key of keys) {
        const entry = byKey.get(key);
        if (entry?.error !== undefined) throw new Error(`${key}: ${entry.error}`);
        if (entry !== undefined) values.push(entry.value);
      }
    }
    return values;
  }

  async #transact(instanceId: string, operations: readonly StateOperation[]): Promise<void> {
    try {
      await this.#store.transact(operations, this.#metadata(instanceId));
    } catch (error) {
      if (!(error instanceof EtagMismatch)) throw error;
      throw new StoreConflict(0, "etag", `'${instanceId}' was changed meanwhile in the state store`);
    }
  }

  #deletions(instanceId: string, kind: string, from: number, to: number): StateOperation[] {
    const operations: StateOperation[] = [];
    for (let index = from; index < to; index++)
      operations.push(this.#delete(instanceId, entryName(kind, index)));
    return operations;
  }

  #put(
    instanceId: string,
    name: string,
    value: Uint8Array,
    guard: { etag?: string; concurrency?: "first-write" } = {},
  ): StateOperation {
    const key = this.#key(instanceId, name);
    return { kind: "upsert", request: { key, value, ...guard, metadata: this.#metadata(instanceId) } };
  }

  #delete(instanceId: string, name: string, guard: { etag?: string } = {}): StateOperation {
    const key = this.#key(instanceId, name);
    return { kind: "delete", request: { key, ...guard, metadata: this.#metadata(instanceId) } };
  }

  #key(instanceId: string, name: string): string {
    return `${this.#prefix}${instanceId}||${name}`;
  }

  #metadata(instanceId: string): Record<string, string> {
    return { partitionKey: this.#prefix + instanceId };
  }
}

function entryName(kind: string, index: number): string {
  return `${kind}-${String(index).padStart(6, "0")}`;
}
