import { type ClockTimer, sleep } from "../../edges/clock.ts";
import { StoreConflict } from "../store/store.ts";
import type { EngineParts } from "./engine-parts.ts";
import { WorkerLost } from "./workers.ts";

/** What the runtimes of an app have of one limit, by runtime. */
type Shares = Record<string, Share>;

interface Share {
  /** Places that nobody else may use. */
  held: number;
  /** Since when it wants more; the one who wants longest comes first. */
  wantsSinceMs?: number;
  /** The share of a runtime that died ends here. */
  untilMs: number;
}

const shareMs = 10_000;
const renewEveryMs = 3_000;
const retryMs = 250;

export interface SharedLimitOptions {
  parts: Pick<EngineParts, "store" | "edges" | "telemetry">;
  space: string;
  key: string;
  /** This runtime among those of the app. */
  owner: string;
  /** Absent: there is no limit any more. */
  max(): number | undefined;
}

/**
 * So many at once, by all runtimes of an app together. Each takes a share of the places in one record of the store and
 * hands them out itself: while it is busy that costs nothing, and what it leaves idle goes back.
 */
export class SharedLimit {
  readonly #options: SharedLimitOptions;
  readonly #waiting: { start: () => void; giveUp: (error: Error) => void }[] = [];
  readonly #stop = new AbortController();
  #held = 0;
  #used = 0;
  #wantsSinceMs: number | undefined;
  #isWantedByOthers = false;
  #updating: Promise<void> | undefined;
  #isAskedAgain = false;
  #unwatch: (() => void) | undefined;
  #timer: ClockTimer | undefined;

  constructor(options: SharedLimitOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves when there is a place. */
  async take(): Promise<void> {
    if (this.#used < this.#held && this.#waiting.length === 0) {
      this.#used += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ start: resolve, giveUp: reject });
    this.#wantsSinceMs ??= this.#options.parts.edges.clock.now();
    this.update();
    await promise;
  }

  release(): void {
    this.#used -= 1;
    const max = this.#options.max() ?? Number.POSITIVE_INFINITY;
    if (this.#waiting.length > 0 && !this.#isWantedByOthers && this.#held <= max) this.#start();
    else if (this.#isWantedByOthers || this.#held > max || this.#waiting.length > 0) this.update();
  }

  /** Those who wait go back to where they came from: there is no worker left for them. */
  abandon(): void {
    for (const { giveUp } of this.#waiting.splice(0)) giveUp(new WorkerLost("no worker is connected"));
    this.#wantsSinceMs = undefined;
    this.update();
  }

  async close(): Promise<void> {
    this.abandon();
    await this.#updating;
    this.#stop.abort();
    this.#rest();
  }

  /** Looks at the record again: something changed here or there. */
  update(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#updating !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    const { store } = this.#options.parts;
    this.#unwatch ??= store.watch(`keys:${this.#options.space}`, () => this.update());
    this.#updating = this.#agree().finally(() => {
      this.#updating = undefined;
      if (this.#isAskedAgain) {
        this.#isAskedAgain = false;
        this.update();
      } else if (this.#held === 0 && this.#waiting.length === 0) this.#rest();
      else this.#timer ??= this.#renewal();
    });
  }

  #renewal(): ClockTimer {
    const { clock } = this.#options.parts.edges;
    const renew = (): void => {
      this.#timer = undefined;
      this.update();
    };
    return clock.setTimer(renewEveryMs, renew, { background: true });
  }

  #rest(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #start(): void {
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#used += 1;
    this.#wantsSinceMs = this.#waiting.length === 0 ? undefined : this.#options.parts.edges.clock.now();
    next.start();
  }

  async #agree(): Promise<void> {
    const { edges, telemetry } = this.#options.parts;
    try {
      while (!(await this.#tryAgree()));
    } catch (error) {
      telemetry.log.warn(
        { error },
        "the concurrency limit of workflows could not be agreed on, trying again",
      );
      await sleep(edges.clock, retryMs, this.#stop.signal);
      this.#isAskedAgain = true;
    }
    while (this.#used < this.#held && this.#waiting.length > 0) this.#start();
  }

  /** False when another runtime was faster. */
  async #tryAgree(): Promise<boolean> {
    const { parts, space, key, owner } = this.#options;
    const entry = await parts.store.get(space, key);
    const nowMs = parts.edges.clock.now();
    const shares: Shares = entry === undefined ? {} : JSON.parse(new TextDecoder().decode(entry.value));
    for (const [name, { untilMs }] of Object.entries(shares)) if (untilMs <= nowMs) delete shares[name];
    const before = shares[owner];
    delete shares[owner];
    const held = this.#rightful(shares, nowMs);
    const wants = this.#used + this.#waiting.length > held;
    const mine: Share = { held, untilMs: nowMs + shareMs };
    if (wants) mine.wantsSinceMs = this.#wantsSinceMs ?? nowMs;
    if (isSettled(before, mine, nowMs)) {
      this.#held = held;
      return true;
    }
    // What is given back is not given out while the record is on its way.
    this.#held = Math.min(this.#held, held);
    const isIdle = held === 0 && !wants;
    const value = new TextEncoder().encode(JSON.stringify(isIdle ? shares : { ...shares, [owner]: mine }));
    try {
      const put = { kind: "put" as const, space, key, value };
      await parts.store.commit([
        entry === undefined ? { ...put, ifAbsent: true } : { ...put, etag: entry.etag },
      ]);
      this.#held = held;
      return true;
    } catch (error) {
      if (error instanceof StoreConflict) return false;
      throw error;
    }
  }

  /** How many places this runtime may hold beside the others. Never fewer than are in use. */
  #rightful(shares: Shares, nowMs: number): number {
    const max = this.#options.max() ?? Number.POSITIVE_INFINITY;
    const need = this.#used + this.#waiting.length;
    if (max === Number.POSITIVE_INFINITY) return need;
    const others = Object.entries(shares);
    const wanting = others.filter(([, { wantsSinceMs }]) => wantsSinceMs !== undefined);
    this.#isWantedByOthers = wanting.length > 0;
    const free = Math.max(0, max - others.reduce((sum, [, { held }]) => sum + held, 0));
    const sinceMs = this.#wantsSinceMs ?? nowMs;
    const isFirst = wanting.every(
      ([name, { wantsSinceMs = nowMs }]) =>
        sinceMs < wantsSinceMs || (sinceMs === wantsSinceMs && this.#options.owner < name),
    );
    const share = Math.floor(max / (others.length + 1)) + (isFirst ? max % (others.length + 1) : 0);
    const most = wanting.length === 0 ? free : Math.min(free, share);
    return Math.max(this.#used, Math.min(need, most));
  }
}

/** Nothing to write: the share is as it was, and fresh enough. */
function isSettled(before: Share | undefined, mine: Share, nowMs: number): boolean {
  if (before === undefined) return mine.held === 0 && mine.wantsSinceMs === undefined;
  const isSame = before.held === mine.held && before.wantsSinceMs === mine.wantsSinceMs;
  return isSame && before.untilMs - nowMs > shareMs - renewEveryMs;
}
