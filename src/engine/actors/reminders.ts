import type { Clock } from "../../edges/clock.ts";
import { errors } from "../../errors.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { againAt, DueTimers, over } from "../jobs/due-timers.ts";
import { advance, begin, isExpired, type Plan, type Progress, retry } from "../jobs/plan.ts";
import { decodeRecord, encodeRecord } from "../jobs/record.ts";
import { ScheduleError } from "../jobs/schedule.ts";
import { type Mutation, type Store, StoreConflict, type Timer } from "../store/store.ts";
import { alarmPlan } from "./alarm.ts";
import type { ActorRef, Fence, Reminder } from "./engine.ts";
import type { ActorMeter } from "./meter.ts";

export interface RemindersOptions {
  store: Store;
  clock: Clock;
  log: Log;
  meter: ActorMeter;
  cluster: string;
  owner: string;
  /** Has the actor reminded, wherever it lives. */
  remind(reminder: Reminder, signal: AbortSignal): Promise<RemindOutcome>;
}

export type RemindOutcome = "done" | "cancelled" | "failed" | "away";

interface Stored extends Reminder {
  plan: Plan;
  progress: Progress;
}

/** A turn may take this long, waiting for it included; the claim of its reminder outlives it. */
const turnTimeoutMs = 600_000;
const leaseMs = turnTimeoutMs + 30_000;
const atOnceMax = 256;
const pageSize = 1000;

/** Durable alarms of actors: timers of the store, one space per actor type, delivered by any host of the type. */
export class Reminders {
  readonly #options: RemindersOptions;
  readonly #running = new Map<string, DueTimers>();
  readonly #closing = new AbortController();

  constructor(options: RemindersOptions) {
    this.#options = options;
  }

  /** Delivers the reminders of exactly these types from now on. */
  async host(types: Iterable<string>): Promise<void> {
    const wanted = new Set(types);
    const stopping: Promise<void>[] = [];
    for (const [type, timers] of this.#running) {
      if (wanted.has(type)) continue;
      this.#running.delete(type);
      stopping.push(timers.stop());
    }
    for (const type of wanted) {
      if (this.#running.has(type)) continue;
      const timers = this.#timersOf(type);
      this.#running.set(type, timers);
      timers.start();
    }
    await Promise.all(stopping);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the actor runtime is closing"));
    await this.host([]);
  }

  async set(reminder: Reminder, overwrite: boolean, fence: Fence | undefined): Promise<void> {
    const { store, clock, meter } = this.#options;
    const plan = planOf(reminder, clock.now());
    const progress = begin(plan);
    const id = idOf(reminder, reminder.name);
    const space = this.#space(reminder.type);
    if (progress === undefined) {
      await store.commit([{ kind: "timerDelete", space, id }]);
      return;
    }
    const data = encodeRecord({ ...reminder, plan, progress } satisfies Stored, undefined);
    const set: Mutation = {
      kind: "timerSet",
      space,
      id,
      dueAtMs: progress.dueAtMs,
      data,
      ifAbsent: !overwrite,
    };
    try {
      await store.commit(fence ? [{ kind: "guard", ...fence }, set] : [set]);
      meter.reminders(reminder.type, 1);
    } catch (error) {
      if (!(error instanceof StoreConflict)) throw errors.ACTOR_REMINDER_CREATE((error as Error).message);
      if (error.reason === "exists") throw errors.ACTOR_REMINDER_EXISTS(`${id}`);
      throw errors.ACTOR_REMINDER_CREATE("this host does not own the actor any more", { cause: error });
    }
  }

  async get(actor: ActorRef, name: string): Promise<Reminder> {
    const { store } = this.#options;
    const timer = await store.getTimer(this.#space(actor.type), idOf(actor, name)).catch((error) => {
      throw errors.ACTOR_REMINDER_GET((error as Error).message, { cause: error });
    });
    const reminder = timer && this.#read(timer);
    if (reminder === undefined) throw errors.ACTOR_REMINDER_NOT_FOUND(name);
    return reminder;
  }

  async delete(actor: ActorRef, name: string): Promise<void> {
    const { store, meter } = this.#options;
    const id = idOf(actor, name);
    const deletion: Mutation = { kind: "timerDelete", space: this.#space(actor.type), id };
    const [outcome] = await store.commit([deletion]).catch((error) => {
      throw errors.ACTOR_REMINDER_DELETE((error as Error).message, { cause: error });
    });
    if (outcome?.existed) meter.reminders(actor.type, -1);
  }

  async list(type: string, id: string | undefined): Promise<Reminder[]> {
    const found: Reminder[] = [];
    for await (const page of this.#pages(type, id)) {
      for (const timer of page) {
        const reminder = this.#read(timer);
        if (reminder !== undefined) found.push(reminder);
      }
    }
    return found;
  }

  async deleteAll(type: string, id: string | undefined): Promise<void> {
    const { store, meter } = this.#options;
    for await (const page of this.#pages(type, id)) {
      const deletions = page.map(
        (timer): Mutation => ({ kind: "timerDelete", space: timer.space, id: timer.id }),
      );
      await store.commit(deletions);
      meter.reminders(type, -page.length);
    }
  }

  #timersOf(type: string): DueTimers {
    const { store, clock, owner, log } = this.#options;
    const timers: DueTimers = new DueTimers({
      store,
      clock,
      space: this.#space(type),
      owner,
      leaseMs,
      atOnceMax,
      handle: (timer) => this.#fire(timer, timers),
      onError: (error) => {
        if (!this.#closing.signal.aborted) log.warn({ error }, `a reminder of ${type} could not be run`);
      },
    });
    return timers;
  }

  async #fire(timer: Timer, timers: DueTimers): Promise<void> {
    const { clock, meter, remind } = this.#options;
    const { fields } = decodeRecord<Stored>(timer.data);
    const { plan, progress, ...reminder } = fields;
    if (isExpired(plan, clock.now())) return this.#finish(timer, undefined, timers);
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(turnTimeoutMs)]);
    const outcome = await remind(reminder, signal);
    const isOver = outcome === "done" || outcome === "cancelled";
    if (outcome === "away" || (!isOver && this.#closing.signal.aborted)) {
      timers.rest();
      return timers.end(againAt(timer, timer.dueAtMs));
    }
    timers.recovered();
    meter.reminderFired(reminder.type, isOver);
    if (outcome === "cancelled") return this.#finish(timer, undefined, timers);
    const next = (outcome === "done" ? advance : retry)(plan, progress, clock.now());
    return this.#finish(timer, next && { ...fields, progress: next }, timers);
  }

  async #finish(timer: Timer, next: Stored | undefined, timers: DueTimers): Promise<void> {
    if (next === undefined) {
      this.#options.meter.reminders(typeOf(timer), -1);
      return timers.end(over(timer));
    }
    return timers.end(againAt(timer, next.progress.dueAtMs, encodeRecord(next, undefined)));
  }

  #read(timer: Timer): Reminder | undefined {
    const { plan, progress: _progress, ...reminder } = decodeRecord<Stored>(timer.data).fields;
    return isExpired(plan, this.#options.clock.now()) ? undefined : reminder;
  }

  async *#pages(type: string, id: string | undefined): AsyncGenerator<Timer[]> {
    const prefix = id === undefined ? "" : idOf({ type, id }, "");
    const space = this.#space(type);
    let after: string | undefined;
    while (true) {
      const options = { prefix, limit: pageSize, ...(after !== undefined && { after }) };
      const page = await this.#options.store.listTimers(space, options);
      if (page.length > 0) yield page;
      if (page.length < pageSize) return;
      after = page.at(-1)?.id;
    }
  }

  #space(type: string): string {
    return `reminders:${this.#options.cluster}:${encodeURIComponent(type)}`;
  }
}

function planOf(reminder: Reminder, nowMs: number): Plan {
  try {
    return { ...alarmPlan(reminder, nowMs), policy: reminder.failurePolicy };
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    throw errors.ACTOR_REMINDER_CREATE(error.message, { cause: error });
  }
}

function typeOf({ space }: Timer): string {
  return decodeURIComponent(space.slice(space.lastIndexOf(":") + 1));
}

function idOf({ id }: ActorRef, name: string): string {
  return `${encodeURIComponent(id)}||${name}`;
}
