import { type Outcome, StoreConflict, StoreUnavailable } from "../store.ts";
import type { Link } from "./link.ts";
import { operationBytes, packBatch, type WriteOperation } from "./operations.ts";
import { fromText } from "./text.ts";

export interface WriteLaneOptions {
  /** One connection, of this lane alone. */
  link: Link;
  lockClass: number;
  /** `undefined`: the server's clock counts. */
  nowMs(): number | undefined;
  /** Called after each batch with the channels it touched. */
  onTouched(channels: ReadonlySet<string>): void;
}

type Answer =
  | { value: unknown }
  | { conflict: { index: number; reason: StoreConflict["reason"]; message: string } };

interface Waiting {
  operation: WriteOperation;
  bytes: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** What the operations of one batch bring at most; the rest waits for the next. */
const batchOperationsMax = 1_000;
const batchBytesMax = 8 * 1024 * 1024;
/** What may wait in memory before writes are refused. */
const queueOperationsMax = 50_000;
const queueBytesMax = 256 * 1024 * 1024;

/**
 * All writes of one tick, and those that come while a batch is being committed, form the next batch: one call, one
 * transaction, one sync to disk. One batch is in flight.
 */
export class WriteLane {
  readonly #options: WriteLaneOptions;
  #queue: Waiting[] = [];
  #queueBytes = 0;
  #isScheduled = false;
  #isFlying = false;
  #closing: { promise: Promise<void>; resolve(): void } | undefined;

  constructor(options: WriteLaneOptions) {
    this.#options = options;
  }

  /** Resolves once the operation is synced to disk. */
  write(operation: WriteOperation): Promise<unknown> {
    if (this.#closing) return Promise.reject(new StoreUnavailable("closed", "the store is closed"));
    const bytes = operationBytes(operation);
    if (this.#queue.length >= queueOperationsMax || this.#queueBytes + bytes > queueBytesMax) {
      return Promise.reject(new StoreUnavailable("overloaded", "too many writes wait for the server"));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ operation, bytes, resolve, reject });
      this.#queueBytes += bytes;
      this.#schedule();
    });
  }

  /** Writes what was accepted. */
  close(): Promise<void> {
    this.#closing ??= Promise.withResolvers<void>();
    if (!this.#isFlying && this.#queue.length === 0) this.#closing.resolve();
    return this.#closing.promise;
  }

  /** After the event loop's poll phase: requests that arrived together are written together. */
  #schedule(): void {
    if (this.#isScheduled || this.#isFlying) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    if (this.#isFlying || this.#queue.length === 0) return;
    this.#isFlying = true;
    await this.#send(this.#takeBatch());
    this.#isFlying = false;
    if (this.#queue.length > 0) this.#schedule();
    else this.#closing?.resolve();
  }

  #takeBatch(): Waiting[] {
    let count = 0;
    let bytes = 0;
    for (const waiting of this.#queue) {
      if (count >= batchOperationsMax || (count > 0 && bytes + waiting.bytes > batchBytesMax)) break;
      count += 1;
      bytes += waiting.bytes;
    }
    this.#queueBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      this.#settle(batch, await this.#write(batch));
    } catch (error) {
      const isServers = error instanceof StoreUnavailable;
      if (isServers || batch.length === 1) {
        for (const waiting of batch) waiting.reject(toError(error));
        return;
      }
      // One operation spoiled the transaction of all: send them one by one, so that it fails alone.
      for (const waiting of batch) await this.#send([waiting]);
    }
  }

  async #write(batch: readonly Waiting[]): Promise<Answer[]> {
    const { alone, locks, appended, operations, bytes } = packBatch(batch.map(({ operation }) => operation));
    const { link, lockClass, nowMs } = this.#options;
    const [row] = await link.write<{ answers: string }>(
      `SELECT write_batch($1, $2, $3::text::integer[], ARRAY(SELECT jsonb_array_elements_text($4::text::jsonb)),
         $5, $6::text::jsonb, $7) AS answers`,
      [
        lockClass,
        alone,
        `{${locks.join(",")}}`,
        JSON.stringify(appended),
        nowMs() ?? null,
        JSON.stringify(operations),
        bytes,
      ],
    );
    return JSON.parse(row?.answers ?? "[]") as Answer[];
  }

  #settle(batch: readonly Waiting[], answers: readonly Answer[]): void {
    const touched = new Set<string>();
    batch.forEach((waiting, index) => {
      const answer = answers[index];
      if (answer && "value" in answer) {
        noteTouched(waiting.operation, answer.value, touched);
        waiting.resolve(answer.value);
      } else if (answer) {
        const { index: at, reason, message } = answer.conflict;
        waiting.reject(new StoreConflict(at, reason, fromText(message)));
      } else waiting.reject(new Error("the server left an operation unanswered"));
    });
    if (touched.size > 0) this.#options.onTouched(touched);
  }
}

/** The server's word on an acknowledged message: others waited for its order key. */
export interface ServedOutcome extends Outcome {
  wake?: boolean;
}

function noteTouched(operation: WriteOperation, value: unknown, touched: Set<string>): void {
  switch (operation.op) {
    case "commit":
      operation.mutations.forEach((mutation, index) => {
        const outcome = (value as ServedOutcome[])[index] ?? {};
        if (mutation.kind === "put") touched.add(`keys:${mutation.space}`);
        else if (mutation.kind === "timerSet") touched.add(`timers:${mutation.space}`);
        else if (mutation.kind === "timerDone" && mutation.dueAtMs !== undefined)
          touched.add(`timers:${mutation.timer.space}`);
        else if (mutation.kind === "timerDelete" && outcome.existed) touched.add(`timers:${mutation.space}`);
        else if (mutation.kind === "delete" || mutation.kind === "deletePrefix") {
          if (outcome.existed) touched.add(`keys:${mutation.space}`);
        } else if (mutation.kind === "append" || mutation.kind === "deadLetter")
          touched.add(`topic:${mutation.topic}`);
        if (outcome.wake && (mutation.kind === "ack" || mutation.kind === "deadLetter"))
          touched.add(`topic:${mutation.delivery.topic}`);
      });
      return;
    case "nack":
      if (value) touched.add(`topic:${operation.delivery.topic}`);
      return;
    case "acquireLease":
      if ((value as { held: boolean }).held) touched.add(`lease:${operation.name}`);
      return;
    case "releaseLease":
      touched.add(`lease:${operation.name}`);
  }
}

function toError(error: unknown): Error {
  if (error instanceof StoreUnavailable) return error;
  return new Error(
    `the store refused an operation: ${error instanceof Error ? error.message : String(error)}`,
  );
}
