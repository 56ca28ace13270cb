import { type Clock, sleep } from "../../edges/clock.ts";
import type { TryOwner } from "../../kit/try-owner.ts";
import type { RetriesSpec } from "../../resource/traffic.ts";
import { BreakerOpen } from "../resilience/breaker.ts";
import { ResiliencePolicy } from "../resilience/policy.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import { forget, givenBack, type Outcome, outcomeOf, reasonsOf } from "./outcome.ts";
import { Refused } from "./refused.ts";
import type { Site } from "./site.ts";

/** Other tries of what failed for a reason of the list, as far as the budget goes; else the failure is given back. */
export function openRetries(spec: RetriesSpec, { context, meterOf, budget, rank }: Site): UseLayer {
  const { clock, random } = context;
  const meter = meterOf("retries");
  const timed = timedTry(spec, rank, { clock, activated: () => meter.did("per-try-timeout") });
  const wanted = wantedBy(spec);
  return {
    repeats: spec.attempts > 0,
    async run<T>(use: Use, work: Work<T>, shape: Shape<T>) {
      const { tries } = use;
      if (tries?.claim("retries", rank) === false) return work(shape.signal);
      let release: (() => void) | undefined;
      try {
        for (let attempt = 1; ; attempt++) {
          const outcome = await outcomeOf(() => timed(work, shape, tries), shape);
          release?.();
          const isNearest = tries?.owns("retries", rank) !== false;
          if (!isNearest || attempt > spec.attempts || !wanted(outcome, shape)) return givenBack(outcome);
          release = budget === undefined ? () => {} : budget.take("retry");
          if (release === undefined) {
            meter.did("over-budget");
            return givenBack(outcome);
          }
          meter.did("retry");
          const pauseMs = toldPauseMs(spec, outcome, shape, { nowMs: clock.now(), random: random.next() });
          forget(outcome, shape);
          if (!spec.ignorePreviousHosts) use.previousHosts?.clear();
          await sleep(clock, pauseMs ?? backoffMs(spec, attempt, random.next()), shape.signal);
          if (shape.signal?.aborted) throw shape.signal.reason;
        }
      } finally {
        release?.();
      }
    },
  };
}

type Try = <T>(work: Work<T>, shape: Shape<T>, tries: TryOwner | undefined) => Promise<T>;

function timedTry(
  { perTryTimeoutMs }: RetriesSpec,
  rank: number,
  told: { clock: Clock; activated(): void },
): Try {
  if (perTryTimeoutMs <= 0) return (work, { signal }) => work(signal);
  const parts = { ...told, timeoutMs: perTryTimeoutMs, retry: undefined, breaker: undefined };
  const timeout = new ResiliencePolicy(parts);
  return (work, shape, tries) => {
    if (tries === undefined) return timeout.run(work, shape);
    if (!tries.claim("timeouts", rank)) return work(shape.signal);
    return timeout.run(work, { ...shape, timing: (timer) => tries.whenLost(rank, () => timer.cancel()) });
  };
}

type Wanted = <T>(outcome: Outcome<T>, shape: Shape<T>) => boolean;

function wantedBy({ retryOn, retriableStatusCodes }: RetriesSpec): Wanted {
  const on = new Set([...retryOn, ...retriableStatusCodes.map(String)]);
  return (outcome, shape) => {
    if (shape.signal?.aborted) return false;
    const isFinal =
      outcome.kind === "error" &&
      (outcome.error instanceof BreakerOpen ||
        outcome.error instanceof Refused ||
        shape.isPermanent?.(outcome.error) === true);
    if (isFinal || ![...reasonsOf(outcome, shape)].some((reason) => on.has(reason))) return false;
    const { isRepeatable } = shape;
    return typeof isRepeatable === "function" ? isRepeatable() : isRepeatable !== false;
  };
}

/** Envoy's: a random part of a pause that doubles. */
export function backoffMs(spec: RetriesSpec, attempt: number, random: number): number {
  return random * Math.min(spec.backoffMs * (2 ** attempt - 1), spec.backoffMaxMs);
}

const pauseHeaders = ["retry-after", "ratelimit-reset", "x-ratelimit-reset"];
/** Seconds beyond this are a moment of time. */
const epochSecondsMin = 1_000_000_000;

/**
 * The pause that the answer asks for, with jitter so that not all come back at once. One longer than the policy allows is
 * not looked at, as in Envoy.
 */
function toldPauseMs<T>(
  { retryAfterMaxMs }: RetriesSpec,
  outcome: Outcome<T>,
  { headerOf }: Shape<T>,
  { nowMs, random }: { nowMs: number; random: number },
): number | undefined {
  if (outcome.kind !== "result" || headerOf === undefined || retryAfterMaxMs <= 0) return undefined;
  for (const name of pauseHeaders) {
    const askedMs = pauseOf(headerOf(outcome.result, name), nowMs);
    if (askedMs !== undefined && askedMs <= retryAfterMaxMs) return askedMs * (1 + random / 2);
  }
  return undefined;
}

/** Seconds, seconds since the epoch, or an HTTP date. */
export function pauseOf(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d+(\.\d+)?$/.test(text)) {
    const dateMs = Date.parse(text);
    return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
  }
  const seconds = Number(text);
  return seconds < epochSecondsMin ? seconds * 1000 : Math.max(0, seconds * 1000 - nowMs);
}
