import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";

/** Bytes of a call that a shadow is sent; a longer one is broken off, so that a slow server costs no memory. */
const shadowBytesMax = 1 << 20;
const shadowMs = 15_000;

/** A copy of a call's messages on their way to another server, whose answer nobody sees. */
export class Shadow {
  readonly #done: () => void;
  #stream: Http2Stream | undefined;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #isEnded = false;
  #isOver = false;
  readonly #timer: NodeJS.Timeout;

  /** `done` is called once, when it is over in whichever way. */
  constructor(opened: Promise<Http2Stream>, done: () => void) {
    this.#done = done;
    this.#timer = setTimeout(() => this.cancel(), shadowMs).unref();
    opened.then(
      (stream) => this.#begin(stream),
      () => {
        this.cancel();
        done();
      },
    );
  }

  write(chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#bytes += chunk.length;
    if (this.#bytes > shadowBytesMax) this.cancel();
    else if (this.#stream === undefined) this.#waiting.push(chunk);
    else this.#stream.write(chunk);
  }

  end(): void {
    this.#isEnded = true;
    this.#stream?.end();
  }

  cancel(): void {
    this.#isOver = true;
    this.#waiting = [];
    clearTimeout(this.#timer);
    if (this.#stream !== undefined) this.#stream.reset();
  }

  #begin(stream: Http2Stream): void {
    stream.receiver = this.#receiver();
    this.#stream = stream;
    if (this.#isOver) {
      stream.reset();
      return;
    }
    for (const chunk of this.#waiting) stream.write(chunk);
    this.#waiting = [];
    if (this.#isEnded) stream.end();
  }

  /** Nobody looks at the answer. */
  #receiver(): StreamReceiver {
    return {
      onData: ignore,
      onEnd: ignore,
      onDrain: ignore,
      onAbort: ignore,
      onClose: () => {
        this.#isOver = true;
        clearTimeout(this.#timer);
        this.#done();
      },
    };
  }
}

function ignore(): void {}
