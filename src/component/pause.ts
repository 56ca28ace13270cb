import type { Clock } from "../edges/clock.ts";
import type { Random } from "../edges/random.ts";

/** Ends early, without an error, when one of the signals aborts. */
export function pause(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((done) => {
    if (signals.some((signal) => signal.aborted)) return done();
    const finish = (): void => {
      timer.cancel();
      for (const signal of signals) signal.removeEventListener("abort", finish);
      done();
    };
    const timer = clock.setTimer(ms, finish);
    for (const signal of signals) signal.addEventListener("abort", finish, { once: true });
  });
}

const doublingsMax = 30;

/**
 * How long to wait before the next try. Grows twofold, each time between half and all of it: runtimes that lost one
 * server come back one by one.
 */
export function pauseBefore(tries: number, { firstMs, maxMs, random }: BackOff): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(tries, doublingsMax));
  return Math.ceil(full * (0.5 + random.next() / 2));
}

interface BackOff {
  firstMs: number;
  maxMs: number;
  random: Random;
}
