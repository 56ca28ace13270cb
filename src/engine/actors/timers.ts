import type { Clock } from "../../edges/clock.ts";
import { errors } from "../../errors.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { advance, begin, type Plan, type Progress } from "../jobs/plan.ts";
import type { ActiveActor } from "./active-actor.ts";
import { alarmPlan } from "./alarm.ts";
import type { ActorTimer } from "./engine.ts";
import type { ActorMeter } from "./meter.ts";

export interface TimersOptions {
  clock: Clock;
  log: Log;
  meter: ActorMeter;
  /** A turn for the timer; answers whether the actor was still here. */
  fire(timer: ActorTimer): Promise<boolean>;
}

/** Timers live with the actor, in memory, and go with it (dapr-api.md §8.5). */
export class ActorTimers {
  readonly #options: TimersOptions;

  constructor(options: TimersOptions) {
    this.#options = options;
  }

  set(active: ActiveActor, timer: ActorTimer): void {
    const { clock } = this.#options;
    let plan: Plan;
    try {
      plan = alarmPlan(timer, clock.now());
    } catch (error) {
      throw errors.ACTOR_TIMER_CREATE((error as Error).message, { cause: error });
    }
    this.delete(active, timer.name);
    const progress = begin(plan);
    if (progress === undefined) return;
    this.#options.meter.timers(active.type, 1);
    this.#arm(active, timer, plan, progress);
  }

  delete(active: ActiveActor, name: string): void {
    const armed = active.timers.get(name);
    if (armed === undefined) return;
    armed.cancel();
    active.timers.delete(name);
    this.#options.meter.timers(active.type, -1);
  }

  #arm(active: ActiveActor, timer: ActorTimer, plan: Plan, progress: Progress): void {
    const { clock } = this.#options;
    const delayMs = Math.max(0, Math.ceil(progress.dueAtMs - clock.now()));
    const armed = clock.setTimer(delayMs, () => void run(), { background: true });
    active.timers.set(timer.name, armed);
    const run = async (): Promise<void> => {
      const isHere = await this.#fire(timer);
      // Set anew, deleted, or gone with its actor meanwhile.
      if (active.timers.get(timer.name) !== armed) return;
      const next = isHere ? advance(plan, progress, clock.now()) : undefined;
      if (next === undefined) this.delete(active, timer.name);
      else this.#arm(active, timer, plan, next);
    };
  }

  async #fire(timer: ActorTimer): Promise<boolean> {
    const { fire, log, meter } = this.#options;
    try {
      const isHere = await fire(timer);
      if (isHere) meter.timerFired(timer.type, true);
      return isHere;
    } catch (error) {
      meter.timerFired(timer.type, false);
      log.warn({ error }, `timer ${timer.name} of actor ${timer.type}||${timer.id} failed`);
      return true;
    }
  }
}
