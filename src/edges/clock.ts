/** Time as the rest of mecha sees it: real in production, moved by hand in the simulator. */
export interface Clock {
  /** Milliseconds since the epoch; may jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since some fixed moment; never jumps backwards. For measuring and for intervals. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`. Real timers of long delays are split, so any delay is honoured. */
  setTimer(delayMs: number, callback: () => void, options?: TimerOptions): ClockTimer;
}

export interface TimerOptions {
  /** The timer alone does not keep the process alive. */
  background?: boolean;
}

export interface ClockTimer {
  cancel(): void;
}

/** setTimeout fires at once for delays that do not fit in 31 bits. */
const longestRealDelayMs = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, callback, options = {}) {
    let handle = arm(delayMs);
    function arm(leftMs: number): NodeJS.Timeout {
      const delay = Math.min(Math.max(leftMs, 0), longestRealDelayMs);
      const timer = setTimeout(() => (leftMs > delay ? rearm(leftMs - delay) : callback()), delay);
      if (options.background) timer.unref();
      return timer;
    }
    function rearm(leftMs: number): void {
      handle = arm(leftMs);
    }
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Waits on a clock; ends early, without an error, when the signal aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = clock.setTimer(delayMs, finish);
    signal?.addEventListener("abort", finish, { once: true });
    function finish(): void {
      timer.cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    }
  });
}
