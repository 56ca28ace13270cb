import { StoreConflict } from "../store.ts";
import { type BytesPacker, type BytesRef, bytesAt } from "./batch-codec.ts";

/** What leaves the worker beside the answers. A batch that was undone may leave some: bytes unused, hints for nothing. */
export interface BatchOutput {
  reply: BytesPacker;
  /** Channels to notify. */
  touched: Set<string>;
}

/** What the tables need while one transaction is being written. */
export class Batch {
  readonly nowMs: number;
  readonly reply: BytesPacker;
  /** Appended messages, so that each topic's counters are written once a transaction. */
  readonly appended: { topic: number; bytes: number }[] = [];
  /** Acknowledged messages by topic: a hint where trimming pays. */
  readonly acked = new Map<number, number>();
  #revision: number;
  readonly #bytes: Uint8Array;
  readonly #touched: Set<string>;

  constructor(nowMs: number, revision: number, bytes: Uint8Array, output: BatchOutput) {
    this.nowMs = nowMs;
    this.reply = output.reply;
    this.#revision = revision;
    this.#bytes = bytes;
    this.#touched = output.touched;
  }

  get revision(): number {
    return this.#revision;
  }

  /** A number never given before by any process that shares the file. */
  nextRevision(): number {
    this.#revision += 1;
    return this.#revision;
  }

  bytes(ref: BytesRef): Uint8Array {
    return bytesAt(this.#bytes, ref);
  }

  touch(channel: string): void {
    this.#touched.add(channel);
  }
}

/** Refuses the mutation at hand; the index is filled in where the commit is applied. */
export function refuse(reason: StoreConflict["reason"], message: string): never {
  throw new StoreConflict(0, reason, message);
}
