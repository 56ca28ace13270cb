import type { Statement } from "bun:sqlite";
import { type Mutation, type Outcome, StoreConflict } from "../store.ts";
import { Batch, type BatchOutput } from "./batch.ts";
import type { Answer, Answers, BatchRequest, Packed, WriteOperation } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";
import { ConsumerTable } from "./consumer-table.ts";
import { concernsTheFile, toStoreUnavailable } from "./file-fault.ts";
import { HistoryTable } from "./history-table.ts";
import { KeyTable } from "./key-table.ts";
import { LeaseTable } from "./lease-table.ts";
import { RetentionTable } from "./retention.ts";
import { TimerTable } from "./timer-table.ts";
import { TopicTable } from "./topic-table.ts";
import { WriteLock } from "./write-lock.ts";

type PackedMutation = Packed<Mutation>;
type PackedOperation = Packed<WriteOperation>;

/** Applies batches of operations to the file: one transaction, one sync to disk for all of them. */
export class BatchWriter {
  readonly #db: Connection;
  readonly #lock: WriteLock;
  readonly #commit: Statement;
  readonly #savepoint: Statement;
  readonly #undo: Statement;
  readonly #release: Statement;
  readonly #readRevision: Statement<{ value: number }>;
  readonly #writeRevision: Statement;
  readonly #dataVersion: Statement<{ data_version: number }>;
  readonly #keys: KeyTable;
  readonly #topics: TopicTable;
  readonly #consumers: ConsumerTable;
  readonly #timers: TimerTable;
  readonly #history: HistoryTable;
  readonly #leases: LeaseTable;
  readonly #retention: RetentionTable;
  /** Acknowledgements since the topic was last trimmed. */
  readonly #untrimmed = new Map<number, number>();
  #lastDataVersion = -1;

  constructor(db: Connection, busyTimeoutMs: number) {
    this.#db = db;
    this.#commit = db.prepare("COMMIT");
    this.#savepoint = db.prepare("SAVEPOINT one_commit");
    this.#undo = db.prepare("ROLLBACK TO one_commit");
    this.#release = db.prepare("RELEASE one_commit");
    this.#readRevision = db.prepare("SELECT value FROM counters WHERE name = 'revision'");
    this.#writeRevision = db.prepare("UPDATE counters SET value = ? WHERE name = 'revision'");
    this.#dataVersion = db.prepare("PRAGMA data_version");
    this.#keys = new KeyTable(db);
    this.#topics = new TopicTable(db);
    this.#consumers = new ConsumerTable(db, this.#topics);
    this.#timers = new TimerTable(db);
    this.#history = new HistoryTable(db);
    this.#leases = new LeaseTable(db);
    this.#retention = new RetentionTable(db);
    this.#lock = new WriteLock(db, busyTimeoutMs);
  }

  /** Returns after the commit is synced. Never throws for what the file or an operation does wrong. */
  write({ nowMs, operations }: BatchRequest, bytes: Uint8Array, output: BatchOutput): Answer[] {
    try {
      return this.#transact(nowMs, operations, bytes, output);
    } catch (error) {
      this.#rollback();
      const answer = toAnswer(error);
      if (concernsTheFile(error) || operations.length === 1) return operations.map(() => answer);
    }
    // One operation spoiled the transaction of all: run them one by one, so that it fails alone.
    return operations.flatMap((operation) => this.write({ nowMs, operations: [operation] }, bytes, output));
  }

  #transact(
    nowMs: number,
    operations: readonly PackedOperation[],
    bytes: Uint8Array,
    output: BatchOutput,
  ): Answer[] {
    this.#lock.begin();
    this.#noticeOtherWriters();
    const revision = this.#readRevision.get()?.value;
    if (revision === undefined) throw new Error("the store's revision counter is missing");
    const batch = new Batch(nowMs, revision, bytes, output);
    const answers = operations.map((operation) => this.#answer(operation, batch));
    this.#topics.writeCounters(batch);
    this.#trimAcked(batch);
    if (batch.revision !== revision) this.#writeRevision.run(batch.revision);
    this.#commit.run();
    return answers;
  }

  #answer(operation: PackedOperation, batch: Batch): Answer {
    try {
      return { value: this.#apply(operation, batch) };
    } catch (error) {
      if (!(error instanceof StoreConflict)) throw error;
      return { conflict: { index: error.index, reason: error.reason, message: error.message } };
    }
  }

  #apply(operation: PackedOperation, batch: Batch): Packed<Answers[keyof Answers]> {
    switch (operation.op) {
      case "commit":
        return this.#applyCommit(operation.mutations, batch);
      case "claim":
        return this.#consumers.claim(operation, batch);
      case "nack":
        return this.#consumers.nack(operation, batch);
      case "extend":
        return this.#consumers.extend(operation.deliveries, operation.leaseMs, batch);
      case "ensureGroup":
        this.#consumers.ensure(operation.topic, operation.group, operation.from, batch);
        return null;
      case "deleteGroup":
        this.#consumers.delete(operation.topic, operation.group);
        return null;
      case "claimTimers":
        return this.#timers.claim(operation, batch);
      case "acquireLease":
        return this.#leases.acquire(operation, batch);
      case "renewLease":
        return this.#leases.renew(operation, batch);
      case "releaseLease":
        return this.#leases.release(operation, batch);
      case "releaseOwners":
        return { released: this.#releaseOwners(operation.owners, batch) };
      case "sweep":
        return { more: this.#sweep(operation.retention, batch) };
    }
  }

  #applyCommit(mutations: readonly PackedMutation[], batch: Batch): Outcome[] {
    // A refusal comes before the mutation writes: only one after the first leaves something to undo.
    if (!mutations.slice(1).some(mayConflict)) return this.#applyAll(mutations, batch);
    const appendedBefore = batch.appended.length;
    this.#savepoint.run();
    try {
      const outcomes = this.#applyAll(mutations, batch);
      this.#release.run();
      return outcomes;
    } catch (error) {
      if (error instanceof StoreConflict) {
        this.#undo.run();
        this.#release.run();
        batch.appended.length = appendedBefore;
        this.#forgetIds();
      }
      throw error;
    }
  }

  #applyAll(mutations: readonly PackedMutation[], batch: Batch): Outcome[] {
    let index = 0;
    try {
      const outcomes: Outcome[] = [];
      for (const mutation of mutations) {
        outcomes.push(this.#mutate(mutation, batch));
        index += 1;
      }
      return outcomes;
    } catch (error) {
      if (error instanceof StoreConflict) throw new StoreConflict(index, error.reason, error.message);
      throw error;
    }
  }

  #mutate(mutation: PackedMutation, batch: Batch): Outcome {
    switch (mutation.kind) {
      case "put":
        return this.#keys.put(mutation, batch);
      case "delete":
        return this.#keys.delete(mutation, batch);
      case "deletePrefix":
        return this.#keys.deletePrefix(mutation, batch);
      case "append":
        return this.#topics.append(mutation.topic, mutation.message, batch);
      case "ack":
        return this.#consumers.ack(mutation.delivery, batch);
      case "deadLetter":
        this.#consumers.ack(mutation.delivery, batch);
        return this.#topics.append(mutation.topic, mutation.message, batch);
      case "timerSet":
        return this.#timers.set(mutation, batch);
      case "timerDelete":
        return this.#timers.delete(mutation, batch);
      case "timerDone":
        return this.#timers.done(mutation, batch);
      case "history":
        return this.#history.append(mutation, batch);
      case "historyDelete":
        return this.#history.delete(mutation.instance);
      case "guard":
        return this.#leases.guard(mutation, batch);
    }
  }

  /** What processes held that died without a word is free again at once, not only when its lease ends. */
  #releaseOwners(owners: readonly string[], batch: Batch): number {
    let released = 0;
    for (const owner of owners) {
      released += this.#consumers.releaseOwner(owner, batch) + this.#timers.releaseOwner(owner, batch);
    }
    return released;
  }

  #sweep(retention: Parameters<RetentionTable["sweep"]>[0], batch: Batch): boolean {
    this.#topics.writeCounters(batch);
    batch.appended.length = 0;
    const keys = this.#keys.sweep(batch, sweptPerBatch);
    const leases = this.#leases.sweep(batch, sweptPerBatch);
    if (this.#retention.forgetUnused()) this.#forgetIds();
    const messagesLeft = this.#retention.sweep(retention, batch, messagesSweptPerBatch);
    return messagesLeft || keys === sweptPerBatch || leases === sweptPerBatch;
  }

  /** Handled messages are removed while their pages are still in memory, many at a time. */
  #trimAcked(batch: Batch): void {
    for (const [topic, acked] of batch.acked) {
      const total = (this.#untrimmed.get(topic) ?? 0) + acked;
      if (this.#untrimmed.size >= topicsRemembered) this.#untrimmed.clear();
      this.#untrimmed.set(topic, total);
      if (total < ackedPerTrim) continue;
      this.#retention.trim(topic, total * 2);
      this.#untrimmed.delete(topic);
    }
  }

  #noticeOtherWriters(): void {
    const version = this.#dataVersion.get()?.data_version ?? 0;
    if (version !== this.#lastDataVersion) this.#forgetIds();
    this.#lastDataVersion = version;
  }

  #forgetIds(): void {
    this.#topics.forget();
    this.#consumers.forget();
  }

  #rollback(): void {
    this.#forgetIds();
    // SQLite may have rolled back by itself, as it does when the disk is full.
    if (this.#db.inTransaction) this.#db.run("ROLLBACK");
  }
}

/** What is forgotten beyond is found by the sweeper. */
const topicsRemembered = 10_000;
const ackedPerTrim = 256;
const sweptPerBatch = 500;
const messagesSweptPerBatch = 2000;

function mayConflict(mutation: PackedMutation): boolean {
  switch (mutation.kind) {
    case "put":
      return Boolean(mutation.etag || mutation.ifAbsent);
    case "delete":
      return Boolean(mutation.etag || mutation.mustExist);
    case "timerSet":
      return Boolean(mutation.ifAbsent);
    case "ack":
    case "deadLetter":
    case "timerDone":
    case "history":
    case "guard":
      return true;
    default:
      return false;
  }
}

function toAnswer(error: unknown): Answer {
  if (!concernsTheFile(error)) return { error: error instanceof Error ? error.message : String(error) };
  const { reason, message } = toStoreUnavailable(error);
  return { unavailable: { reason, message } };
}
