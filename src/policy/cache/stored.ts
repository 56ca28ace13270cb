import type { HeaderLines } from "./header-lines.ts";

/** An answer as it is kept. Never changed: what a validation brings makes a new one. */
export interface StoredAnswer {
  status: number;
  reason: string | undefined;
  /** As they are sent, without framing and Age. */
  headers: HeaderLines;
  body: Uint8Array;
  /** Milliseconds since the epoch. */
  receivedMs: number;
  /** RFC 9111 §4.2.3: `corrected_initial_age`. */
  initialAgeMs: number;
  /** From its birth; 0: used only when the target says that it still holds. */
  lifetimeMs: number;
  /** May be used stale for that long while a fresh one is on its way, and when there is none to be had. */
  staleWhileRevalidateMs: number;
  staleIfErrorMs: number;
  /** Neither of both, nor because a caller takes stale ones. */
  mustRevalidate: boolean;
  /** `s-maxage` was said: callers can not ask for it stale. */
  isShared: boolean;
  etag: string | undefined;
  lastModified: string | undefined;
  /** Of the request it answers: names and their values, which another request must have too. */
  varyNames: readonly string[];
  varyValues: readonly string[];
  tags: readonly string[];
}

/** How old clocks of machines that share a store may make what has just been received. */
const skewMaxMs = 5_000;

/** RFC 9111 §4.2.3. A clock that was set back says nothing of the age: then it is too old for anything. */
export function ageMs({ receivedMs, initialAgeMs }: StoredAnswer, nowMs: number): number {
  const residentMs = nowMs - receivedMs;
  if (residentMs < -skewMaxMs) return Number.POSITIVE_INFINITY;
  return initialAgeMs + Math.max(0, residentMs);
}

export function hasValidator({ etag, lastModified }: StoredAnswer): boolean {
  return etag !== undefined || lastModified !== undefined;
}
