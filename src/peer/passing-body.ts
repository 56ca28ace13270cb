import { WholeBody } from "../net/http1/body.ts";
import { StreamedBody } from "../net/http1/changed-request.ts";
import type { Body } from "../net/http1/types.ts";
import type { BodyStart } from "./local-targets.ts";

/** A body that a policy may look into before it goes on. */
export class PassingBody {
  readonly #body: Body;
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #pieces: AsyncIterator<Uint8Array> | undefined;
  #isEnded = false;

  constructor(body: Body) {
    this.#body = body;
  }

  /** What it begins with; may be asked again for more. */
  async start(bytesMax: number): Promise<BodyStart> {
    this.#pieces ??= this.#body[Symbol.asyncIterator]();
    while (!this.#isEnded && this.#heldBytes <= bytesMax) {
      const { done, value } = await this.#pieces.next();
      if (done) this.#isEnded = true;
      else this.#hold(value);
    }
    const bytes = Buffer.concat(this.#held).subarray(0, bytesMax);
    return { bytes, isWhole: this.#heldBytes <= bytesMax };
  }

  /** What goes on: all of it. */
  get whole(): Body {
    if (this.#pieces === undefined) return this.#body;
    if (this.#isEnded) return new WholeBody(Buffer.concat(this.#held));
    return new StreamedBody(this.#replayed(this.#pieces), this.#body.size);
  }

  /** Nothing goes on. */
  drop(): void {
    void this.#pieces?.return?.();
  }

  #hold(piece: Uint8Array): void {
    this.#held.push(piece);
    this.#heldBytes += piece.byteLength;
  }

  async *#replayed(rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#held.splice(0);
      for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
    } finally {
      await rest.return?.();
    }
  }
}
