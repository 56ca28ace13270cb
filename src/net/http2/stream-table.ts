import { Budget } from "./budget.ts";
import { ConnectionError, errorCode } from "./frames.ts";
import type { ServerStream } from "./server-stream.ts";

/** How a stream came to its end. */
export type StreamEnd = "ended" | "peer reset" | "own reset";

/** Streams whose end is remembered, to tell late frames from wrong ones. */
const endsMax = 1000;

/** The streams of one connection: those that are open, and how the latest others ended. */
export class StreamTable {
  lastId = 0;
  /** Called when no stream is left. */
  onEmpty: (() => void) | undefined;
  readonly #open = new Map<number, ServerStream>();
  readonly #ends = new Map<number, StreamEnd>();
  readonly #resets = new Budget(10_000, 1000);

  get size(): number {
    return this.#open.size;
  }

  get(id: number): ServerStream | undefined {
    return this.#open.get(id);
  }

  all(): Iterable<ServerStream> {
    return this.#open.values();
  }

  add(stream: ServerStream): void {
    this.#open.set(stream.id, stream);
  }

  end(stream: ServerStream, end: StreamEnd): void {
    this.#open.delete(stream.id);
    this.#ends.set(stream.id, end);
    if (this.#ends.size > endsMax) {
      const [oldest] = this.#ends.keys();
      this.#ends.delete(oldest as number);
    }
    stream.close(end !== "ended");
    if (this.#open.size === 0) this.onEmpty?.();
  }

  /** The connection is gone. */
  abandon(): void {
    for (const stream of this.#open.values()) stream.close(true);
    this.#open.clear();
    this.onEmpty?.();
  }

  /**
   * A frame has come for a stream that is not open. True when it is to be answered by a reset, false when the frame
   * crossed one of ours; `unknown` is the error when nothing is known of the stream.
   */
  isResetDue(id: number, unknown: number): boolean {
    this.expectUsed(id);
    const end = this.#ends.get(id);
    if (end === "own reset") return false;
    if (end !== "peer reset") {
      const code = end === "ended" ? errorCode.streamClosed : unknown;
      throw new ConnectionError(code, "a frame is for a stream that is over");
    }
    this.countReset();
    return true;
  }

  expectUsed(id: number): void {
    if (id > this.lastId)
      throw new ConnectionError(errorCode.protocolError, "a frame is for a stream that was never opened");
  }

  /** Resets that the peer makes, or makes us make. */
  countReset(): void {
    if (!this.#resets.spend())
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many streams are reset");
  }
}
