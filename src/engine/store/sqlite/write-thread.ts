import type { Clock } from "../../../edges/clock.ts";
import { StoreConflict, StoreUnavailable } from "../store.ts";
import {
  type Answer,
  type Answers,
  type Envelope,
  operationBytes,
  type Packed,
  packRequest,
  parseReply,
  type WriteOperation,
} from "./batch-codec.ts";

export type ToWorker =
  | { kind: "open"; path: string; feedPath: string; busyTimeoutMs: number }
  | { kind: "batch"; envelope: Envelope }
  | { kind: "close" };

export type FromWorker = { kind: "done"; envelope: Envelope } | { kind: "closed" };

export interface WriteThreadOptions {
  path: string;
  /** This process's feed file: its own commits need no wake-up through it. */
  feedPath: string;
  clock: Clock;
  busyTimeoutMs: number;
  /** Called when a batch is about to go, with the topics it appends to: claims written now go with it. */
  onAppending?(topics: ReadonlySet<string>): void;
  /** Called after each batch with the channels it touched. */
  onTouched(channels: readonly string[]): void;
  /** Bytes that may wait for the disk before writes are refused. Default 256 MiB. */
  queueBytesMax?: number;
  /** Another script for the thread: tests make it fail. */
  workerUrl?: URL;
}

interface Waiting {
  operation: WriteOperation;
  bytes: number;
  resolve(result: { value: unknown; bytes: Uint8Array }): void;
  reject(error: Error): void;
}

/** What the operations of one batch bring at most; the rest waits for the next. */
const batchOperationsMax = 1_000;
const batchBytesMax = 8 * 1024 * 1024;
/** What may wait in memory before writes are refused. */
const queueOperationsMax = 50_000;
const queueBytesMaxDefault = 256 * 1024 * 1024;

/**
 * The event loop's side of the writing thread. All writes of one tick, and those that come while a batch is being
 * committed, form the next batch; one batch is in flight.
 */
export class WriteThread {
  readonly #options: WriteThreadOptions;
  /** Absent after a crash, until there is something to write. */
  #worker: Worker | undefined;
  #queue: Waiting[] = [];
  #queueBytes = 0;
  readonly #appending = new Set<string>();
  #inFlight: Waiting[] | undefined;
  #scheduled = false;
  #closing: { promise: Promise<void>; resolve(): void } | undefined;

  constructor(options: WriteThreadOptions) {
    this.#options = options;
    this.#worker = this.#start();
  }

  /** Resolves once the operation is synced to disk. `bytes` is what the answer's references point into. */
  write<O extends WriteOperation["op"]>(
    operation: Extract<WriteOperation, { op: O }>,
  ): Promise<{ value: Packed<Answers[O]>; bytes: Uint8Array }> {
    if (this.#closing) return Promise.reject(new StoreUnavailable("closed", "the store is closed"));
    const bytes = operationBytes(operation);
    const { queueBytesMax = queueBytesMaxDefault } = this.#options;
    if (this.#queue.length >= queueOperationsMax || this.#queueBytes + bytes > queueBytesMax) {
      return Promise.reject(new StoreUnavailable("overloaded", "too many writes wait for the disk"));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ operation, bytes, resolve: resolve as Waiting["resolve"], reject });
      this.#queueBytes += bytes;
      this.#noteAppends(operation);
      this.#schedule();
    });
  }

  /** Writes what was accepted, then ends the thread. */
  close(): Promise<void> {
    if (this.#closing) return this.#closing.promise;
    this.#closing = Promise.withResolvers<void>();
    if (!this.#inFlight && this.#queue.length === 0) this.#end();
    return this.#closing.promise;
  }

  #start(): Worker {
    const worker = new Worker(this.#options.workerUrl ?? new URL("./write.worker.ts", import.meta.url));
    worker.onmessage = (event: MessageEvent<FromWorker>) => this.#receive(worker, event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#crashed(worker, event.message);
    };
    worker.addEventListener("close", () => this.#crashed(worker, "it ended"));
    const { path, feedPath, busyTimeoutMs } = this.#options;
    worker.postMessage({ kind: "open", path, feedPath, busyTimeoutMs } satisfies ToWorker);
    return worker;
  }

  /** After the event loop's poll phase: requests that arrived together are written together. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#inFlight || this.#queue.length === 0) return;
    if (this.#appending.size > 0) this.#announceAppends();
    const batch = this.#takeBatch();
    this.#inFlight = batch;
    const operations = batch.map((waiting) => waiting.operation);
    const envelope = packRequest(this.#options.clock.now(), operations);
    this.#post({ kind: "batch", envelope });
  }

  #noteAppends(operation: WriteOperation): void {
    if (operation.op !== "commit") return;
    for (const mutation of operation.mutations) {
      if (mutation.kind === "append" || mutation.kind === "deadLetter") this.#appending.add(mutation.topic);
    }
  }

  #announceAppends(): void {
    const topics = new Set(this.#appending);
    this.#appending.clear();
    this.#options.onAppending?.(topics);
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
    if (count === this.#queue.length) {
      const all = this.#queue;
      this.#queue = [];
      return all;
    }
    return this.#queue.splice(0, count);
  }

  #post(message: ToWorker): void {
    const transfer = message.kind === "batch" ? [message.envelope.bytes.buffer as ArrayBuffer] : [];
    this.#worker ??= this.#start();
    this.#worker.postMessage(message, transfer);
  }

  #receive(worker: Worker, message: FromWorker): void {
    if (worker !== this.#worker) return;
    if (message.kind === "closed") this.#ended();
    else this.#settleBatch(message.envelope);
  }

  #settleBatch(envelope: Envelope): void {
    const batch = this.#inFlight ?? [];
    this.#inFlight = undefined;
    const { answers, touched } = parseReply(envelope);
    batch.forEach((waiting, index) => {
      settle(waiting, answers[index], envelope.bytes);
    });
    this.#options.onTouched(touched);
    if (this.#queue.length > 0) this.#schedule();
    else if (this.#closing) this.#end();
  }

  /** Whether the batch in flight was committed cannot be known; what waits goes to a new thread. */
  #crashed(worker: Worker, message: string): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    worker.terminate();
    const batch = this.#inFlight ?? [];
    this.#inFlight = undefined;
    const error = new StoreUnavailable("crashed", `the store's writing thread failed: ${message}`);
    for (const waiting of batch) waiting.reject(error);
    if (this.#queue.length > 0) this.#schedule();
    else if (this.#closing) this.#ended();
  }

  #end(): void {
    if (this.#worker) this.#post({ kind: "close" });
    else this.#ended();
  }

  #ended(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.terminate();
    this.#closing?.resolve();
  }
}

/** Hands an answer to who waits for it. */
export function settle(
  waiting: Pick<Waiting, "resolve" | "reject">,
  answer: Answer | undefined,
  bytes: Uint8Array,
): void {
  if (answer && "value" in answer) waiting.resolve({ value: answer.value, bytes });
  else waiting.reject(toError(answer));
}

function toError(answer: Exclude<Answer, { value: unknown }> | undefined): Error {
  if (!answer) return new Error("the store's writing thread left an operation unanswered");
  if ("conflict" in answer) {
    const { index, reason, message } = answer.conflict;
    return new StoreConflict(index, reason, message);
  }
  if ("unavailable" in answer) {
    return new StoreUnavailable(answer.unavailable.reason, answer.unavailable.message);
  }
  return new Error(`the store refused an operation: ${answer.error}`);
}
