import type { OutlierDetectionSpec } from "../../resource/traffic.ts";
import type { Outcome, Upstream } from "./upstream.ts";

const ejectionMaxMs = 300_000;

/** What becomes of instances that fail. Time is given to it; the moment an ejection ends is seen when next looked at. */
export class OutlierDetector {
  readonly #spec: OutlierDetectionSpec;

  constructor(spec: OutlierDetectionSpec) {
    this.#spec = spec;
  }

  isEjected({ outlier }: Upstream, nowMs: number): boolean {
    const untilMs = outlier.ejectedUntilMs;
    if (untilMs !== undefined) {
      if (nowMs < untilMs) return true;
      this.#bringBack(outlier, untilMs);
    }
    if (!outlier.isOnProbation || outlier.probeSinceMs === undefined) return false;
    // A probe that does not end may not keep an instance out for ever.
    return nowMs - outlier.probeSinceMs < this.#spec.baseEjectionTimeMs;
  }

  /** Whether this call is the one that tries an instance after its ejection. */
  begin({ outlier }: Upstream, nowMs: number): boolean {
    if (!outlier.isOnProbation) return false;
    outlier.probeSinceMs = nowMs;
    return true;
  }

  /** Answers whether the instance has been ejected now. */
  told(upstream: Upstream, call: { outcome: Outcome; isProbe: boolean }, seen: Seen): boolean {
    const { outlier } = upstream;
    const { outcome, isProbe } = call;
    if (outlier.ejectedUntilMs !== undefined && seen.nowMs < outlier.ejectedUntilMs) return false;
    // What was sent before the ejection says nothing of how it is since.
    if (outlier.isOnProbation && !isProbe) return false;
    if (isProbe) outlier.probeSinceMs = undefined;
    if (outcome.origin === "none") return false;
    if (isProbe && outlier.isOnProbation) {
      if (!this.#isError(outcome)) this.#clear(outlier);
      else return this.#eject(outlier, seen.nowMs);
      return false;
    }
    const isOver = this.#count(outlier, outcome);
    return isOver && this.#mayEject(upstream, seen) && this.#eject(outlier, seen.nowMs);
  }

  /** Whoever passes a health check is back. */
  pardon({ outlier }: Upstream, nowMs: number): void {
    if (outlier.ejectedUntilMs !== undefined) this.#bringBack(outlier, nowMs);
    this.#clear(outlier);
  }

  #isError({ origin, status }: Outcome): boolean {
    if (origin === "local") return true;
    const { httpErrorCodes } = this.#spec;
    if (httpErrorCodes.length === 0) return status >= 500;
    return httpErrorCodes.some(({ from, to }) => status >= from && status <= to);
  }

  /** Answers whether a limit is reached. */
  #count(outlier: Upstream["outlier"], outcome: Outcome): boolean {
    const spec = this.#spec;
    if (outcome.origin === "local" && spec.splitExternalLocalOriginErrors) {
      outlier.localFailures++;
      return isReached(outlier.localFailures, spec.consecutiveLocalOriginFailures);
    }
    outlier.localFailures = 0;
    const isGateway = outcome.status >= 502 && outcome.status <= 504;
    outlier.errors = this.#isError(outcome) ? outlier.errors + 1 : 0;
    outlier.gatewayErrors = isGateway ? outlier.gatewayErrors + 1 : 0;
    return (
      isReached(outlier.errors, spec.consecutive5xxErrors) ||
      isReached(outlier.gatewayErrors, spec.consecutiveGatewayErrors)
    );
  }

  /** Up to the percentage, but one of several always: with few instances the default would never eject any. */
  #mayEject(upstream: Upstream, { all, nowMs }: Seen): boolean {
    const others = all.filter((other) => other !== upstream && isOut(other, nowMs)).length;
    if ((others + 1) * 100 <= all.length * this.#spec.maxEjectionPercent) return true;
    return others === 0 && all.length > 1 && this.#spec.maxEjectionPercent > 0;
  }

  #eject(outlier: Upstream["outlier"], nowMs: number): boolean {
    const calmIntervals = Math.floor((nowMs - outlier.returnedAtMs) / this.#spec.intervalMs);
    const before = outlier.isOnProbation
      ? outlier.timesEjected
      : Math.max(0, outlier.timesEjected - calmIntervals);
    this.#clear(outlier);
    outlier.timesEjected = before + 1;
    const { baseEjectionTimeMs } = this.#spec;
    const longestMs = Math.max(ejectionMaxMs, baseEjectionTimeMs);
    outlier.ejectedUntilMs = nowMs + Math.min(baseEjectionTimeMs * outlier.timesEjected, longestMs);
    return true;
  }

  #bringBack(outlier: Upstream["outlier"], atMs: number): void {
    outlier.ejectedUntilMs = undefined;
    outlier.returnedAtMs = atMs;
    outlier.isOnProbation = this.#spec.probe === "single";
    outlier.probeSinceMs = undefined;
  }

  #clear(outlier: Upstream["outlier"]): void {
    Object.assign(outlier, { errors: 0, gatewayErrors: 0, localFailures: 0 });
    Object.assign(outlier, { isOnProbation: false, probeSinceMs: undefined });
  }
}

/** The instances an ejection is weighed against, and when. */
interface Seen {
  all: readonly Upstream[];
  nowMs: number;
}

function isOut({ outlier }: Upstream, nowMs: number): boolean {
  return outlier.ejectedUntilMs !== undefined && nowMs < outlier.ejectedUntilMs;
}

function isReached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}
