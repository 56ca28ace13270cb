import type { Clock } from "../../edges/clock.ts";
import { after } from "../../kit/after.ts";
import type { RateLimitRule, RateLimitSpec } from "../../resource/rate-limit.ts";
import type { Allowance, Taken } from "./allowance.ts";
import { type Asked, type KeyOf, keyOfRule } from "./asked.ts";
import { Line } from "./line.ts";

/** What a policy says of one use; of several limits, what the strictest says. */
export interface Verdict {
  isAllowed: boolean;
  hasWaited: boolean;
  /** The limit that decides; absent: none was for this use. */
  rule?: RateLimitRule | undefined;
  taken?: Taken | undefined;
}

export interface LimiterOptions {
  onLimit: RateLimitSpec["onLimit"];
  isShadow: boolean;
  clock: Clock;
  limits: readonly { rule: RateLimitRule; allowance: Allowance }[];
  /** Who may wait for their turn at once. */
  waitingMax?: number;
}

const waitingMaxDefault = 1000;
const unlimited: Verdict = { isAllowed: true, hasWaited: false };

/** The limits of one policy at one target. */
export class Limiter {
  readonly #options: LimiterOptions;
  readonly #limits: readonly Limit[];
  /** Until CEL is loaded. */
  #ready: Promise<void> | undefined;
  readonly #lines = new Map<string, Line>();
  #waiting = 0;

  constructor(options: LimiterOptions) {
    this.#options = options;
    const keys = options.limits.map(({ rule }) => keyOfRule(rule));
    const noKey: KeyOf = () => undefined;
    const limits = options.limits.map(({ rule, allowance }) => ({ rule, allowance, keyOf: noKey }));
    this.#limits = limits;
    const loading: Promise<void>[] = [];
    for (const [index, limit] of limits.entries()) {
      const keyOf = keys[index] as KeyOf | Promise<KeyOf>;
      const set = (loaded: KeyOf): void => {
        limit.keyOf = loaded;
      };
      if (keyOf instanceof Promise) loading.push(keyOf.then(set));
      else set(keyOf);
    }
    if (loading.length === 0) return;
    this.#ready = Promise.all(loading).then(() => {
      this.#ready = undefined;
    });
    // Told to whoever asks.
    this.#ready.catch(() => {});
  }

  /** How many wait for their turn. */
  get waiting(): number {
    return this.#waiting;
  }

  admit(asked: Asked, signal?: AbortSignal): Verdict | Promise<Verdict> {
    if (this.#ready !== undefined) return this.#ready.then(() => this.#admit(asked, signal));
    return this.#admit(asked, signal);
  }

  #admit(asked: Asked, signal: AbortSignal | undefined): Verdict | Promise<Verdict> {
    const places: Place[] = [];
    for (const { keyOf, allowance, rule } of this.#limits) {
      const key = keyOf(asked);
      if (key !== undefined) places.push({ rule, allowance, key });
    }
    if (places.length === 0) return unlimited;
    const request = { places, count: asked.count, signal };
    if (this.#options.isShadow || this.#options.onLimit.action === "reject") return takeAll(request);
    const name = places.map(({ key }) => key).join("\u0001");
    const line = this.#lines.get(name);
    if (line !== undefined) return this.#queue(line, request, undefined);
    return after(takeAll(request), (verdict) =>
      verdict.isAllowed ? verdict : this.#queue(this.#lineOf(name), request, verdict),
    );
  }

  #lineOf(name: string): Line {
    const known = this.#lines.get(name);
    if (known !== undefined) return known;
    const line = new Line(this.#options.clock, () => this.#lines.delete(name));
    this.#lines.set(name, line);
    return line;
  }

  #queue(line: Line, request: Request, first: Verdict | undefined): Verdict | Promise<Verdict> {
    const { onLimit, waitingMax = waitingMaxDefault } = this.#options;
    const refusal = first ?? refusalOf(request, line);
    if (this.#waiting >= waitingMax || (onLimit.action === "delay" && isHopeless(refusal, onLimit))) {
      line.endIfEmpty();
      return refusal;
    }
    this.#waiting++;
    const wait = {
      take: () => takeAll(request),
      refusal,
      maxWaitMs: onLimit.maxWaitMs,
      leavesEarly: onLimit.action === "delay",
      signal: request.signal,
    };
    return line.join(wait).finally(() => {
      this.#waiting--;
    });
  }
}

interface Limit {
  rule: RateLimitRule;
  allowance: Allowance;
  keyOf: KeyOf;
}

interface Place {
  rule: RateLimitRule;
  allowance: Allowance;
  key: string;
}

interface Request {
  places: readonly Place[];
  count: number;
  signal: AbortSignal | undefined;
}

function isHopeless({ taken }: Verdict, { maxWaitMs }: RateLimitSpec["onLimit"]): boolean {
  return (taken?.waitMs ?? 0) > maxWaitMs;
}

/** For one who joins a line: what those before it take is an estimate. */
function refusalOf({ places, count }: Request, line: Line): Verdict {
  let slowest: Place | undefined;
  let longestMs = 0;
  for (const place of places) {
    const { perMs, requests } = place.rule;
    const waitMs = ((line.length + count) * perMs) / requests;
    if (waitMs < longestMs) continue;
    longestMs = waitMs;
    slowest = place;
  }
  const taken = { waitMs: longestMs, remaining: 0, resetMs: longestMs };
  return { isAllowed: false, hasWaited: false, rule: slowest?.rule, taken };
}

/** A place of every limit or of none. */
function takeAll({ places, count }: Request): Verdict | Promise<Verdict> {
  const step = (index: number, strictest: Verdict): Verdict | Promise<Verdict> => {
    for (let at = index; at < places.length; at++) {
      const { rule, allowance, key } = places[at] as Place;
      const taken = allowance.take(key, count);
      if (taken instanceof Promise) return taken.then((later) => next(at, strictest, { rule, later }));
      if (taken.waitMs > 0) return undo(at, { isAllowed: false, hasWaited: false, rule, taken });
      strictest = stricter(strictest, rule, taken);
    }
    return strictest;
  };
  const next = (at: number, strictest: Verdict, { rule, later }: { rule: RateLimitRule; later: Taken }) =>
    later.waitMs > 0
      ? undo(at, { isAllowed: false, hasWaited: false, rule, taken: later })
      : step(at + 1, stricter(strictest, rule, later));
  const undo = (end: number, verdict: Verdict): Verdict => {
    for (const { allowance, key } of places.slice(0, end)) allowance.giveBack(key, count);
    return verdict;
  };
  return step(0, unlimited);
}

function stricter(known: Verdict, rule: RateLimitRule, taken: Taken): Verdict {
  const isKept = known.taken !== undefined && !taken.isAway && known.taken.remaining <= taken.remaining;
  return isKept ? known : { isAllowed: true, hasWaited: false, rule, taken };
}
