import type { ScheduleResource, ScheduleSpec } from "../../resource/resource.ts";
import { againAt, DueTimers, over } from "../jobs/due-timers.ts";
import { begin, type Progress } from "../jobs/plan.ts";
import { Candidate } from "../leases/candidate.ts";
import { leaseName, leaseTimesDefault } from "../leases/elections.ts";
import { type Mutation, StoreConflict, type Timer } from "../store/store.ts";
import { dueAt, planOf } from "./occurrences.ts";
import {
  deleteSchedule,
  type LastRun,
  putSchedule,
  readSchedule,
  type StoredSchedule,
  scheduleKey,
  timersOf,
} from "./record.ts";
import type { SchedulesOptions } from "./schedules.ts";
import type { Outgoing, SendOutcome } from "./send.ts";

/** The timer of the next occurrence; those of runs are `run/<occurrence>`. */
const tick = "tick";
const runPrefix = "run/";
const atOnceMax = 64;
const conflictsMax = 10;
const claimSlackMs = 30_000;
const runsListed = 1000;

/** One schedule that this runtime serves, with others that see it: whoever claims a timer does what is due. */
export class ActiveSchedule {
  readonly resource: ScheduleResource;
  readonly print: string;
  readonly #key: string;
  readonly #options: SchedulesOptions;
  readonly #timers: DueTimers;
  readonly #closing = new AbortController();
  #candidate: Candidate | undefined;
  #isWanted = false;

  constructor(resource: ScheduleResource, options: SchedulesOptions) {
    this.resource = resource;
    this.print = JSON.stringify(resource.spec);
    this.#options = options;
    this.#key = scheduleKey(options.principal.namespace, resource.name);
    this.#timers = new DueTimers({
      store: options.store,
      clock: options.clock,
      space: timersOf(this.#key),
      owner: options.owner,
      leaseMs: resource.spec.delivery.timeoutMs + claimSlackMs,
      atOnceMax,
      handle: (timer) => (timer.id === tick ? this.#tick(timer) : this.#run(timer)),
      onError: (error) => {
        if (!this.#closing.signal.aborted) this.#warn(error, "could not be run");
      },
    });
  }

  /** Puts what the resource says into the store, unless it is there already. */
  async apply(): Promise<void> {
    const { store, clock } = this.#options;
    const { spec } = this.resource;
    await unlessConflict(async () => {
      const stored = await readSchedule(store, this.#key);
      if (stored !== undefined && JSON.stringify(stored.spec) === this.print) return;
      const plan = planOf(spec, clock.now());
      const progress = begin(plan);
      await store.commit([
        putSchedule(this.#key, { spec, plan, progress, last: stored?.last }, stored?.etag),
        progress === undefined
          ? { kind: "timerDelete", space: timersOf(this.#key), id: tick }
          : this.#timer(tick, progress.dueAtMs),
      ]);
    });
  }

  /** Takes it out of the store, unless another version of it took its place. */
  async remove(): Promise<void> {
    const { store } = this.#options;
    await unlessConflict(async () => {
      const stored = await readSchedule(store, this.#key);
      if (stored === undefined || JSON.stringify(stored.spec) !== this.print) return;
      const space = timersOf(this.#key);
      const timers = await store.listTimers(space, { limit: runsListed });
      const gone = timers.map(({ id }): Mutation => ({ kind: "timerDelete", space, id }));
      await store.commit([deleteSchedule(this.#key, stored.etag), ...gone]);
    });
  }

  start(): void {
    if (this.#isWanted || this.#closing.signal.aborted) return;
    this.#isWanted = true;
    const { singleton } = this.resource.spec;
    if (singleton === false || singleton === "") this.#timers.start();
    else this.#campaign(singleton);
  }

  async pause(): Promise<void> {
    this.#isWanted = false;
    const candidate = this.#candidate;
    this.#candidate = undefined;
    await this.#timers.stop();
    await candidate?.close();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.pause();
  }

  async status(): Promise<{ stored: StoredSchedule | undefined; runs: number }> {
    const { store } = this.#options;
    const list = { prefix: runPrefix, limit: runsListed };
    const [stored, runs] = await Promise.all([
      readSchedule(store, this.#key),
      store.listTimers(timersOf(this.#key), list),
    ]);
    return { stored, runs: runs.length };
  }

  #campaign(singleton: string | true): void {
    const { store, clock, principal } = this.#options;
    const [kind, name] =
      singleton === true ? (["schedule", this.resource.name] as const) : (["group", singleton] as const);
    this.#candidate = new Candidate({
      store,
      clock,
      name: leaseName(principal.namespace, kind, name),
      leader: principal.appId,
      times: this.#options.leaseTimes(singleton) ?? leaseTimesDefault,
      onEvent: (event) => {
        if (event.kind === "leading" && this.#isWanted) this.#timers.start();
        if (event.kind === "lost") void this.#timers.stop();
      },
      onError: (error) => this.#warn(error, "campaigns for its leader without success"),
    });
    this.#candidate.start();
  }

  /** The moment has come: runs are made and the next moment set, in one commit. */
  async #tick(timer: Timer): Promise<void> {
    const { store, clock } = this.#options;
    // Not the leader any more: given back, for the next one is not to wait until the claim ends.
    const giveBack = () => this.#timers.end(againAt(timer, timer.dueAtMs));
    const isLost = (error: unknown) => error instanceof StoreConflict && error.reason === "lease";
    await unlessConflict(async () => {
      const stored = await readSchedule(store, this.#key);
      const done = over(timer);
      if (stored?.progress === undefined) return void (await store.commit([done]));
      const nowMs = clock.now();
      const due = dueAt(stored.spec, stored.plan, stored.progress, nowMs);
      const run = await this.#allowed(stored.spec, due.run);
      const next = due.next ?? afterNothing(stored, run, nowMs);
      if (next !== undefined) done.dueAtMs = next.dueAtMs;
      // Between its runs a schedule of `after` keeps its count.
      const progress = next ?? (stored.spec.afterMs === undefined ? undefined : stored.progress);
      await store.commit([
        ...this.#guard(),
        done,
        putSchedule(this.#key, { ...stored, progress }, stored.etag),
        ...run.map((occurrenceMs) => this.#timer(`${runPrefix}${occurrenceMs}`, nowMs, { failures: 0 })),
      ]);
    }).catch((error) => (isLost(error) ? giveBack() : Promise.reject(error)));
  }

  async #allowed({ concurrencyPolicy }: ScheduleSpec, run: number[]): Promise<number[]> {
    if (concurrencyPolicy === "Allow" || run.length === 0) return run;
    const space = timersOf(this.#key);
    const running = await this.#options.store.listTimers(space, { prefix: runPrefix, limit: 1 });
    return running.length > 0 ? [] : run.slice(-1);
  }

  async #run(timer: Timer): Promise<void> {
    const { store, clock, send } = this.#options;
    const stored = await readSchedule(store, this.#key);
    if (stored === undefined) return this.#finish(timer, undefined);
    const { to, delivery } = stored.spec;
    const occurrenceMs = Number(timer.id.slice(runPrefix.length));
    const message = this.#message(stored.spec, occurrenceMs);
    const { signal } = this.#closing;
    const outcome = await send(to, message, { timeoutMs: delivery.timeoutMs, signal });
    const endedAtMs = clock.now();
    if (outcome.kind === "done") return this.#finish(timer, { occurrenceMs, endedAtMs, result: "delivered" });
    if (signal.aborted) return this.#again(timer, timer.dueAtMs, failuresOf(timer));
    const failures = failuresOf(timer) + 1;
    this.#warn(outcome.reason, `failed (${failures})`);
    if (outcome.isRetryable && failures <= delivery.retry) {
      return this.#again(timer, endedAtMs + backoffMs(delivery, failures), failures);
    }
    await this.#bury(stored.spec, message, outcome);
    return this.#finish(timer, { occurrenceMs, endedAtMs, result: "failed", reason: outcome.reason });
  }

  async #bury({ delivery }: ScheduleSpec, message: Outgoing, failed: SendOutcome): Promise<void> {
    const { deadLetterSink, timeoutMs } = delivery;
    if (deadLetterSink === undefined || failed.kind === "done") return;
    const headers = { "ce-errorreason": failed.reason.replace(/[^\x20-\x7e]/g, " ") };
    const limits = { timeoutMs, signal: this.#closing.signal };
    const outcome = await this.#options.send(deadLetterSink, { ...message, headers }, limits);
    if (outcome.kind === "failed") this.#warn(outcome.reason, "could not be sent to its dead letters");
  }

  #message({ data, contentType }: ScheduleSpec, occurrenceMs: number): Outgoing {
    const { namespace } = this.#options.principal;
    const { name } = this.resource;
    const bytes = data === undefined ? "" : Buffer.from(data.text, data.isBase64 ? "base64" : "utf8");
    return {
      id: `${namespace || "default"}/${name}/${new Date(occurrenceMs).toISOString()}`,
      source: `schedule/${name}`,
      type: "run.mecha.schedule.due",
      timeMs: occurrenceMs,
      contentType,
      data: Buffer.from(bytes),
    };
  }

  async #again(timer: Timer, dueAtMs: number, failures: number): Promise<void> {
    await this.#timers.end(againAt(timer, dueAtMs, Buffer.from(JSON.stringify({ failures }))));
  }

  /** The run is over; a schedule of `after` counts on from here. */
  async #finish(timer: Timer, last: LastRun | undefined): Promise<void> {
    const { store } = this.#options;
    const commit = async (): Promise<void> => {
      const stored = last && (await readSchedule(store, this.#key));
      const mutations: Mutation[] = [over(timer)];
      if (stored !== undefined) {
        const next = nextAfter(stored, last);
        if (next !== undefined) mutations.push(this.#timer(tick, next.dueAtMs));
        const progress = stored.spec.afterMs === undefined ? stored.progress : next;
        mutations.push(putSchedule(this.#key, { ...stored, progress, last }, stored.etag));
      }
      await store.commit(mutations);
    };
    await this.#timers.insist(() => unlessConflict(commit));
  }

  /** Only the leader makes runs, also when it was paused between its look and its commit. */
  #guard(): Mutation[] {
    const { singleton } = this.resource.spec;
    if (singleton === false || singleton === "") return [];
    const { namespace } = this.#options.principal;
    const token = this.#candidate?.leadership?.fencingToken ?? 0;
    const [kind, name] =
      singleton === true ? (["schedule", this.resource.name] as const) : (["group", singleton] as const);
    return [{ kind: "guard", lease: leaseName(namespace, kind, name), token }];
  }

  #timer(id: string, dueAtMs: number, data: object = {}): Mutation {
    const space = timersOf(this.#key);
    return { kind: "timerSet", space, id, dueAtMs, data: Buffer.from(JSON.stringify(data)) };
  }

  #warn(error: unknown, what: string): void {
    this.#options.log.warn({ error }, `schedule ${this.resource.name} ${what}`);
  }
}

/** A schedule of `after` without a run to wait for counts on from now. */
function afterNothing({ spec, progress }: StoredSchedule, run: number[], nowMs: number) {
  if (spec.afterMs === undefined || run.length > 0 || progress === undefined) return undefined;
  const dueAtMs = nowMs + spec.afterMs;
  return { ...progress, occurrenceMs: dueAtMs, dueAtMs };
}

function nextAfter(
  { spec, plan, progress }: StoredSchedule,
  last: LastRun | undefined,
): Progress | undefined {
  if (spec.afterMs === undefined || last === undefined || progress === undefined) return undefined;
  const fired = progress.fired + 1;
  const dueAtMs = last.endedAtMs + spec.afterMs;
  if (spec.repeats !== undefined && fired >= spec.repeats) return undefined;
  if (plan.expiresAtMs !== undefined && dueAtMs >= plan.expiresAtMs) return undefined;
  return { occurrenceMs: dueAtMs, dueAtMs, fired, failures: 0 };
}

function backoffMs(
  { backoffPolicy, backoffDelayMs, maxDelayMs }: ScheduleSpec["delivery"],
  failures: number,
) {
  const factor = backoffPolicy === "linear" ? failures : 2 ** (failures - 1);
  return Math.min(backoffDelayMs * factor, maxDelayMs);
}

function failuresOf(timer: Timer): number {
  const { failures } = JSON.parse(Buffer.from(timer.data).toString("utf8")) as { failures?: number };
  return failures ?? 0;
}

/** Tries again when the record changed between the look and the commit; a lost claim means that another does it. */
async function unlessConflict(work: () => Promise<void>): Promise<void> {
  for (let conflicts = 0; ; conflicts++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreConflict) || conflicts >= conflictsMax) throw error;
      if (error.reason === "lease") throw error;
      if (error.reason === "claim") return;
    }
  }
}
