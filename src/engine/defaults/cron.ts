import type { Binding, BindingEvent } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import { parseSchedule, type Schedule } from "../jobs/schedule.ts";

const nothing = new Uint8Array(0);
/** The wall clock may be set while one waits: it is looked at this often. */
const longestWaitMs = 30_000;

/** Ticks in memory, in each runtime that has it, as Dapr's does. What has to come once and for sure is a job. */
export const cronBinding = component({
  type: "bindings.cron",
  version: "v1",
  status: "stable",
  summary: "Calls the app by a schedule, in each of its runtimes; nothing is kept",
  metadata: {
    schedule: text({
      description: "cron with or without seconds, @every 10s, @daily …; TZ=Europe/Berlin before it, else UTC",
      required: true,
    }),
  },
  async open({ schedule }, { edges }): Promise<Binding> {
    const hasNoSeconds = /^((CRON_)?TZ=\S+\s+)?([^\s@]\S*\s+){4}\S+$/.test(schedule.trim());
    const withSeconds = schedule.trim().replace(/^((?:CRON_)?TZ=\S+\s+)?/, "$10 ");
    return new Ticker(parseSchedule(hasNoSeconds ? withSeconds : schedule), edges.clock);
  },
});

class Ticker implements Binding {
  readonly operations = ["delete"];
  readonly #schedule: Schedule;
  readonly #clock: Clock;
  #timer: ClockTimer | undefined;
  #isClosed = false;

  constructor(schedule: Schedule, clock: Clock) {
    this.#schedule = schedule;
    this.#clock = clock;
  }

  /** The only operation, `delete`, ends the ticking. */
  async invoke(): Promise<undefined> {
    await this.close();
  }

  async read(handler: (event: BindingEvent) => Promise<Uint8Array | undefined>): Promise<void> {
    const startMs = this.#clock.now();
    this.#wait(startMs, handler);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #wait(lastMs: number, handler: (event: BindingEvent) => Promise<Uint8Array | undefined>): void {
    const dueMs = this.#schedule.next(Math.max(this.#clock.now(), lastMs), lastMs);
    if (dueMs === undefined || this.#isClosed) return;
    const look = (): void => {
      const leftMs = dueMs - this.#clock.now();
      if (leftMs > 0) {
        const delayMs = Math.ceil(Math.min(leftMs, longestWaitMs));
        this.#timer = this.#clock.setTimer(delayMs, look, { background: true });
        return;
      }
      const metadata = { timeZone: "UTC", readTimeUTC: new Date(this.#clock.now()).toISOString() };
      // A slow app is not waited for: what a tick came to is told by whoever delivers it.
      void handler({ data: nothing, metadata }).catch(() => undefined);
      this.#wait(dueMs, handler);
    };
    look();
  }
}
