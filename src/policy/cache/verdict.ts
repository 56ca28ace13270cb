import { type CacheControl, noDirectives } from "./cache-control.ts";
import { ageMs, type StoredAnswer } from "./stored.ts";

/** What a stored answer is worth to a request at a moment. */
export interface Verdict {
  /**
   * `stale`: used because the caller takes it so. `refresh`: used while a new one is fetched. `validate`: the target is
   * asked first.
   */
  kind: "fresh" | "stale" | "refresh" | "validate";
  ageMs: number;
  /** What is left of its lifetime; below 0 when it is over. */
  ttlMs: number;
}

/** RFC 9111 §4.2, §5.2.1 and RFC 5861 §3. */
export function judgeStored(stored: StoredAnswer, asked: CacheControl, nowMs: number): Verdict {
  const age = ageMs(stored, nowMs);
  const ttlMs = stored.lifetimeMs - age;
  const kind = asked === noDirectives ? plainKind(stored, ttlMs) : askedKind(stored, asked, { age, ttlMs });
  return { kind, ageMs: age, ttlMs };
}

function plainKind(stored: StoredAnswer, ttlMs: number): Verdict["kind"] {
  if (ttlMs > 0) return "fresh";
  const isUsable = !stored.mustRevalidate && -ttlMs < stored.staleWhileRevalidateMs;
  return isUsable ? "refresh" : "validate";
}

function askedKind(
  stored: StoredAnswer,
  asked: CacheControl,
  { age, ttlMs }: { age: number; ttlMs: number },
): Verdict["kind"] {
  if (asked.noCache) return "validate";
  if (asked.maxAge !== undefined && age > asked.maxAge * 1000) return "validate";
  // As old as it may be at 0 seconds is new enough for nobody: `max-age=0` asks for a validation.
  if (asked.maxAge === 0) return "validate";
  if (asked.minFresh !== undefined && ttlMs < asked.minFresh * 1000) return "validate";
  if (ttlMs > 0) return "fresh";
  const isTaken = asked.maxStale !== undefined && -ttlMs <= asked.maxStale * 1000;
  if (isTaken && !stored.mustRevalidate && !stored.isShared) return "stale";
  return asked.maxAge === undefined && asked.minFresh === undefined ? plainKind(stored, ttlMs) : "validate";
}

/** Whether it may stand in for an error (RFC 5861 §4). */
export function standsInForError(stored: StoredAnswer, asked: CacheControl, nowMs: number): boolean {
  if (stored.mustRevalidate) return false;
  const windowMs = asked.staleIfError === undefined ? stored.staleIfErrorMs : asked.staleIfError * 1000;
  return ageMs(stored, nowMs) - stored.lifetimeMs < windowMs;
}
