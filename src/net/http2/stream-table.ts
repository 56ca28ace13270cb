import { Budget } from "./budget.ts";
import { ConnectionError, errorCode } from "./frames.ts";
import type { Http2Stream } from "./http2-stream.ts";

/** How a stream came to its end. */
export type StreamEnd = "ended" | "peer reset" | "own reset";

/** Streams whose end is remembered, to tell late frames from wrong ones. */
const endsMax = 1024;

/** The streams of one connection: those that are open, and how the latest others ended. */
export class StreamTable {
  lastId = 0;
  /** Called when no stream is left. */
  onEmpty: (() => void) | undefined;
  readonly #open = new Map<number, Http2Stream>();
  /** Of those that ended as they should: each at the place that its id gives it, until another needs that. */
  readonly #ended = new Int32Array(endsMax);
  readonly #cut = new Map<number, StreamEnd>();
  /** Who is in `#cut`, the oldest of them at `#nextCut` once it is full. */
  readonly #cutIds: number[] = [];
  #nextCut = 0;
  readonly #resets: Budget;

  constructor(resetsPerSecond = 1000) {
    this.#resets = new Budget(10 * resetsPerSecond, resetsPerSecond);
  }

  get size(): number {
    return this.#open.size;
  }

  get(id: number): Http2Stream | undefined {
    return this.#open.get(id);
  }

  all(): Iterable<Http2Stream> {
    return this.#open.values();
  }

  add(stream: Http2Stream): void {
    this.#open.set(stream.id, stream);
  }

  end(stream: Http2Stream, end: StreamEnd): void {
    this.#open.delete(stream.id);
    if (end === "ended") this.#ended[placeOf(stream.id)] = stream.id;
    else this.#noteCut(stream.id, end);
    stream.close(end !== "ended");
    if (this.#open.size === 0) this.onEmpty?.();
  }

  #noteCut(id: number, end: StreamEnd): void {
    this.#cut.set(id, end);
    const oldest = this.#cutIds[this.#nextCut];
    if (oldest !== undefined) this.#cut.delete(oldest);
    this.#cutIds[this.#nextCut] = id;
    this.#nextCut = (this.#nextCut + 1) % endsMax;
  }

  #endOf(id: number): StreamEnd | undefined {
    return this.#cut.get(id) ?? (this.#ended[placeOf(id)] === id ? "ended" : undefined);
  }

  /** The connection is gone. */
  abandon(): void {
    for (const stream of this.#open.values()) {
      stream.isLost = true;
      stream.close(true);
    }
    this.#open.clear();
    this.onEmpty?.();
  }

  /**
   * A frame has come for a stream that is not open. True when it is to be answered by a reset, false when the frame
   * crossed one of ours; `unknown` is the error when nothing is known of the stream.
   */
  isResetDue(id: number, unknown: number): boolean {
    this.expectUsed(id);
    const end = this.#endOf(id);
    if (end === "own reset") return false;
    if (end !== "peer reset") {
      const code = end === "ended" ? errorCode.streamClosed : unknown;
      throw new ConnectionError(code, "a frame is for a stream that is over");
    }
    this.countReset();
    return true;
  }

  /** A reset of a stream that is over: the first may have crossed its end, and further ones say nothing. */
  isFirstReset(id: number): boolean {
    const end = this.#endOf(id);
    if (end === undefined || end === "peer reset") return false;
    if (end === "ended") this.#noteCut(id, "peer reset");
    else this.#cut.set(id, "peer reset");
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

/** Streams of one connection have odd ids. */
function placeOf(id: number): number {
  return (id >> 1) % endsMax;
}
