import type { Clock } from "../../edges/clock.ts";
import { formatDuration } from "../../kit/duration.ts";
import type { ScheduleResource, ScheduleSpec } from "../../resource/resource.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { ScheduleError } from "../jobs/schedule.ts";
import type { LeaseTimes } from "../leases/candidate.ts";
import type { Store } from "../store/store.ts";
import { ActiveSchedule } from "./active-schedule.ts";
import { planOf } from "./occurrences.ts";
import type { LastRun } from "./record.ts";
import type { Send } from "./send.ts";

export interface SchedulesOptions {
  principal: { namespace: string; appId: string };
  store: Store;
  clock: Clock;
  log: Log;
  /** Who claims: this process. */
  owner: string;
  /** The Schedule resources that the app sees. */
  declared: () => readonly ScheduleResource[];
  /** Of a group's Singleton resource. */
  leaseTimes(group: string | true): LeaseTimes | undefined;
  send: Send;
}

/** How a schedule stands, for the API and `mecha schedule list`. */
export interface ScheduleStatus {
  name: string;
  when: string;
  to: string;
  isSuspended: boolean;
  nextAtMs?: number;
  /** Runs that are under way or wait for another try. */
  runs: number;
  last?: LastRun;
}

/** The schedules of one app's resources. */
export interface Schedules {
  list(): Promise<ScheduleStatus[]>;
  /** Takes the declared list; throws for cron text that can not be, with its place. */
  reload(): Promise<void>;
  start(): void;
  pause(): Promise<void>;
  close(): Promise<void>;
}

export function createSchedules(options: SchedulesOptions): Schedules {
  return new AppSchedules(options);
}

/** Throws when the text of a schedule is none, with the place in its file. */
export function checkSchedule(resource: ScheduleResource): void {
  try {
    planOf(resource.spec, 0);
  } catch (error) {
    if (!(error instanceof ScheduleError)) throw error;
    const { file, line, column } = resource.at("spec", "schedule");
    throw new Error(`${file}:${line}:${column}: spec.schedule: ${error.message}`);
  }
}

class AppSchedules implements Schedules {
  readonly #options: SchedulesOptions;
  readonly #active = new Map<string, ActiveSchedule>();
  #isRunning = false;
  #isClosed = false;
  #reloading: Promise<void> = Promise.resolve();

  constructor(options: SchedulesOptions) {
    this.#options = options;
  }

  reload(): Promise<void> {
    const after = this.#reloading.then(() => this.#reload());
    // The next one is not held up by this one's failure, which its caller sees.
    this.#reloading = after.catch(() => undefined);
    return after;
  }

  async #reload(): Promise<void> {
    if (this.#isClosed) return;
    const declared = this.#options.declared();
    for (const resource of declared) checkSchedule(resource);
    const wanted = new Map(declared.map((resource) => [resource.name, resource]));
    for (const [name, active] of this.#active) {
      const resource = wanted.get(name);
      if (resource !== undefined && JSON.stringify(resource.spec) === active.print) continue;
      this.#active.delete(name);
      await active.close();
      if (resource === undefined) await active.remove();
    }
    for (const [name, resource] of wanted) {
      if (this.#active.has(name)) continue;
      const active = new ActiveSchedule(resource, this.#options);
      await active.apply();
      this.#active.set(name, active);
      if (this.#isRunning) active.start();
    }
  }

  start(): void {
    if (this.#isClosed) return;
    this.#isRunning = true;
    for (const active of this.#active.values()) active.start();
  }

  async pause(): Promise<void> {
    this.#isRunning = false;
    await Promise.all([...this.#active.values()].map((active) => active.pause()));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isRunning = false;
    await this.#reloading;
    await Promise.all([...this.#active.values()].map((active) => active.close()));
  }

  async list(): Promise<ScheduleStatus[]> {
    return Promise.all([...this.#active.values()].map(statusOf));
  }
}

async function statusOf(active: ActiveSchedule): Promise<ScheduleStatus> {
  const { stored, runs } = await active.status();
  const { name, spec } = active.resource;
  const next = stored?.progress;
  const isWaiting = next !== undefined && !(spec.afterMs !== undefined && runs > 0);
  return {
    name,
    when: whenOf(spec),
    to:
      spec.to.kind === "app"
        ? `app://${spec.to.id}${spec.to.path}`
        : `topic://${spec.to.pubsub}/${spec.to.topic}`,
    isSuspended: spec.suspend,
    ...(isWaiting && { nextAtMs: next.dueAtMs }),
    runs,
    ...(stored?.last && { last: stored.last }),
  };
}

function whenOf({ schedule, everyMs, afterMs, atMs }: ScheduleSpec): string {
  if (schedule !== undefined) return schedule;
  if (everyMs !== undefined) return `every ${formatDuration(everyMs)}`;
  if (afterMs !== undefined) return `after ${formatDuration(afterMs)}`;
  return `at ${new Date(atMs ?? 0).toISOString()}`;
}
