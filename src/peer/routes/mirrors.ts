import type { Clock } from "../../edges/clock.ts";
import type { Backend } from "./backend.ts";

const mirrorsMax = 256;
const mirrorMs = 15_000;
/** A longer request, or one whose length is not known, is not mirrored. */
export const mirrorBodyBytesMax = 1 << 20;

/** Copies of requests whose answers nobody waits for: bounded in number and in time. */
export class Mirrors {
  readonly #clock: Clock;
  #active = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Beyond the bound a copy is left out. The caller never hears how one ends. */
  send(send: (signal: AbortSignal) => Promise<void>): void {
    if (this.#active >= mirrorsMax) return;
    this.#active++;
    const controller = new AbortController();
    const timer = this.#clock.setTimer(mirrorMs, () => controller.abort(), { background: true });
    const end = (): void => {
      timer.cancel();
      this.#active--;
    };
    send(controller.signal).then(end, end);
  }
}

/** The mirrors that get this request. */
export function drawn(
  mirrors: readonly { backend: Backend; fraction: number }[],
  next: () => number,
): Backend[] {
  return mirrors.filter(({ fraction }) => fraction >= 1 || next() < fraction).map(({ backend }) => backend);
}
