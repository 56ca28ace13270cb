import { type Clock, type ClockTimer, sleep } from "../../edges/clock.ts";
import { AttemptEnd, type Waiting } from "../../kit/cancellation.ts";
import { type Breaker, BreakerOpen, type Passage } from "./breaker.ts";
import type { FailureCode } from "./codes.ts";
import type { RetrySpec } from "./spec.ts";
import { Timeouts } from "./timeouts.ts";

/** An attempt took longer than its timeout. The text is Go's, and part of the wire contract. */
export class AttemptTimeout extends Error {
  constructor() {
    super("context deadline exceeded");
    this.name = "AttemptTimeout";
  }
}

/** How a kind of call tells what became of it. */
export interface RunOptions<T> extends Waiting {
  /** False: the call can be made once only, such as with a body that streams. Asked after each attempt. */
  isRepeatable?: boolean | (() => boolean);
  /** Results that count as failures: an HTTP answer of 500. Given back as they are when no try is left. */
  codeOf?(result: T): FailureCode | undefined;
  codeOfError?(error: unknown): FailureCode | undefined;
  /** Errors that no other try can mend. */
  isPermanent?(error: unknown): boolean;
  /** Lets go of a result that is not given back. */
  dispose?(result: T): void;
  /** Told of the timer of an attempt, which may be cancelled. */
  timing?(timer: ClockTimer): void;
}

/** One try. It is told how it ends; `undefined`: when the caller leaves. */
export type Attempted<T> = (ended: AttemptEnd | undefined) => Promise<T>;

export interface PolicyParts {
  clock: Clock;
  /** 0: none. */
  timeoutMs: number;
  retry: RetrySpec | undefined;
  breaker: Breaker | undefined;
  /** Of what the target is part of: an actor's type. */
  outerBreaker?: Breaker | undefined;
  /** Called when the policies are put round a call. */
  applied?(): void;
  /** Called when a policy did something: for metrics and the log. */
  activated(policy: "timeout" | "retry"): void;
}

type Ending<T> =
  | { kind: "done"; result: T }
  | { kind: "refused"; result: T; code: FailureCode }
  | { kind: "failed"; error: unknown };

/** The policies of one target: retries round a breaker round a timeout (dapr-api.md §15). */
export class ResiliencePolicy {
  readonly #parts: PolicyParts;
  readonly #timeouts: Timeouts | undefined;

  constructor(parts: PolicyParts) {
    this.#parts = parts;
    const { clock, timeoutMs } = parts;
    this.#timeouts = timeoutMs > 0 ? new Timeouts(clock, timeoutMs) : undefined;
  }

  /** Whether calls have to be repeatable, their bodies kept. */
  get hasRetries(): boolean {
    return this.#parts.retry !== undefined && this.#parts.retry.retriesMax !== 0;
  }

  get breaker(): Breaker | undefined {
    return this.#parts.breaker;
  }

  async run<T>(work: Attempted<T>, options: RunOptions<T> = {}): Promise<T> {
    const { clock, retry, applied } = this.#parts;
    applied?.();
    const startedMs = clock.monotonicMs();
    for (let attempt = 1; ; attempt++) {
      const ending = await this.#attempt(work, options);
      if (ending.kind === "done") return ending.result;
      const pauseMs = this.#pauseMs(ending, options, attempt, clock.monotonicMs() - startedMs);
      if (retry === undefined || pauseMs === undefined) return givenBack(ending);
      if (ending.kind === "refused") options.dispose?.(ending.result);
      this.#parts.activated("retry");
      await sleep(clock, pauseMs, options.signal);
      if (options.signal?.aborted) throw options.signal.reason;
    }
  }

  /** How long to wait before the next try; `undefined`: there is none. */
  #pauseMs<T>(
    ending: Ending<T>,
    { codeOfError, isPermanent, isRepeatable, signal }: RunOptions<T>,
    attempt: number,
    elapsedMs: number,
  ): number | undefined {
    const { retry } = this.#parts;
    if (retry === undefined || signal?.aborted) return undefined;
    if (retry.retriesMax >= 0 && attempt > retry.retriesMax) return undefined;
    if (ending.kind === "failed") {
      const { error } = ending;
      if (error instanceof BreakerOpen || isPermanent?.(error)) return undefined;
    }
    const isLast = typeof isRepeatable === "function" ? !isRepeatable() : isRepeatable === false;
    if (isLast) return undefined;
    const code = endingCode(ending, codeOfError);
    if (code !== undefined && retry.matches !== undefined && !retry.matches(code)) return undefined;
    return backoffMs(retry, attempt, elapsedMs);
  }

  async #attempt<T>(work: Attempted<T>, options: RunOptions<T>): Promise<Ending<T>> {
    const passages: Passage[] = [];
    try {
      const { breaker, outerBreaker } = this.#parts;
      if (outerBreaker !== undefined) passages.push(outerBreaker.enter());
      if (breaker !== undefined) passages.push(breaker.enter());
      const result = await this.#timed(work, options);
      const code = options.codeOf?.(result);
      for (const passage of passages) code === undefined ? passage.succeeded() : passage.failed();
      return code === undefined ? { kind: "done", result } : { kind: "refused", result, code };
    } catch (error) {
      // The caller's mistakes say nothing of the target's health, and neither does another breaker.
      const isTargets = !options.isPermanent?.(error) && !(error instanceof BreakerOpen);
      const hasLeft = hasCallerLeft(options.signal);
      for (const passage of passages) {
        if (hasLeft) passage.abandoned();
        else isTargets ? passage.failed() : passage.succeeded();
      }
      return { kind: "failed", error };
    }
  }

  #timed<T>(work: Attempted<T>, options: RunOptions<T>): Promise<T> {
    const timeouts = this.#timeouts;
    if (timeouts === undefined) return work(undefined);
    const ended = new AttemptEnd(options);
    const working = work(ended);
    return new Promise((resolve, reject) => {
      let isLate = false;
      const timer = timeouts.start(() => {
        isLate = true;
        this.#parts.activated("timeout");
        const timeout = new AttemptTimeout();
        reject(timeout);
        ended.end(timeout);
      });
      options.timing?.(timer);
      const done = (result: T): void => {
        timer.cancel();
        // What arrives after all belongs to nobody.
        if (isLate) options.dispose?.(result);
        else resolve(result);
      };
      const failed = (error: unknown): void => {
        timer.cancel();
        reject(error);
      };
      working.then(done, failed);
    });
  }
}

/** Whether nobody waits any more for another reason than that it took too long. */
export function hasCallerLeft(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true && !(signal.reason instanceof AttemptTimeout);
}

function givenBack<T>(ending: Exclude<Ending<T>, { kind: "done" }>): T {
  if (ending.kind === "refused") return ending.result;
  throw ending.error;
}

function endingCode<T>(
  ending: Ending<T>,
  codeOfError: RunOptions<T>["codeOfError"],
): FailureCode | undefined {
  if (ending.kind === "refused") return ending.code;
  return ending.kind === "failed" ? codeOfError?.(ending.error) : undefined;
}

const firstIntervalMs = 500;
const growth = 1.5;
const spread = 0.5;
/** An exponential policy gives up after that long, as Dapr's does. */
const elapsedMaxMs = 15 * 60_000;

/** The pause before the next try; `undefined` when the policy gives up. */
export function backoffMs(
  retry: RetrySpec,
  attempt: number,
  elapsedMs: number,
  random: () => number = Math.random,
): number | undefined {
  if (retry.kind === "constant") return retry.durationMs;
  const intervalMs = Math.min(firstIntervalMs * growth ** (attempt - 1), retry.intervalMaxMs);
  const pauseMs = intervalMs * (1 - spread + 2 * spread * random());
  return elapsedMs + pauseMs > elapsedMaxMs ? undefined : pauseMs;
}
