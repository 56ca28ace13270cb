// The wall clock is set by an hour and by a day, on and back, while the runtime runs and while it is down.
import { expect, test } from "bun:test";
import { seededRandom } from "../../src/edges/simulated.ts";
import { schedule, Timeline } from "./timeline.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const startMs = Date.parse("2026-06-01T00:00:00Z");
const jumps = [hourMs, -hourMs, dayMs, -dayMs];
const onceEach = 6;
const actions = 40;

/** `npm test -- clock --rounds 100 --seed 7` */
const rounds = Number(process.env.MECHA_TEST_ROUNDS ?? 2);
const firstSeed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));

for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
  test(`none lost, none early (seed ${seed})`, async () => {
    const story = new Story(seed);
    try {
      await story.run();
    } finally {
      await story.timeline.close();
    }
  }, 120_000);
}

/** What repeats: on a grid of moments, each of them once, those that were missed together as one. */
interface Repeated {
  everyMs: number;
  /** The grid begins here. */
  fromMs: number;
  nextMs: number;
  count: number;
}

class Story {
  readonly timeline: Timeline;
  readonly #random: ReturnType<typeof seededRandom>;
  /** Due moments of what comes once, by name; gone when it came. */
  readonly #once = new Map<string, number>();
  readonly #repeated = new Map<string, Repeated>();
  readonly #problems: string[] = [];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    const schedules = [
      schedule("schedule-every", { everyMs: 2 * hourMs }),
      schedule("schedule-cron", { schedule: "0 30 */3 * * *" }),
    ];
    this.timeline = new Timeline({
      startMs,
      seed,
      schedules,
      came: (name, occurrenceMs) => this.#came(name, occurrenceMs),
    });
  }

  async run(): Promise<void> {
    await this.timeline.up();
    this.#repeats("schedule-every", 2 * hourMs, startMs);
    this.#repeats("schedule-cron", 3 * hourMs, startMs + hourMs / 2 - 3 * hourMs);
    await this.#begin();
    for (let index = 0; index < actions; index++) {
      await this.#act();
      this.#look(`action ${index}`);
    }
    if (!this.timeline.isUp) await this.timeline.up();
    // The clock may have been set back by days: all that is left comes when the time has come.
    const lastMs = Math.max(this.timeline.clock.now(), ...this.#once.values()) + hourMs;
    await this.timeline.pass(lastMs - this.timeline.clock.now());
    this.#look("the end");
    expect([...this.#once.keys()]).toEqual([]);
    for (const { count } of this.#repeated.values()) expect(count).toBeGreaterThan(0);
  }

  async #begin(): Promise<void> {
    const { runtime } = this.timeline;
    const fromMs = this.timeline.clock.now();
    for (let index = 0; index < onceEach; index++) {
      const [job, reminder, workflow] = [`job-${index}`, `reminder-${index}`, `workflow-${index}`];
      const due = () => fromMs + Math.floor(this.#random.next() * 4 * dayMs);
      const [jobMs, reminderMs, workflowMs] = [due(), due(), due()];
      this.#once.set(job, jobMs).set(reminder, reminderMs).set(workflow, workflowMs);
      await runtime.jobs.schedule(
        { name: job, dueTime: new Date(jobMs).toISOString() },
        { overwrite: false },
      );
      await runtime.remind(reminder, `${reminderMs - fromMs}ms`);
      await runtime.sleepUntil(workflow, workflowMs);
    }
    this.#repeats("job-every", hourMs, fromMs);
    await runtime.jobs.schedule({ name: "job-every", schedule: "@every 1h" }, { overwrite: false });
    this.#repeats("job-cron", dayMs, startMs + 2.5 * hourMs - dayMs);
    await runtime.jobs.schedule({ name: "job-cron", schedule: "0 30 2 * * *" }, { overwrite: false });
    this.#repeats("reminder-every", 5 * hourMs, fromMs - 4 * hourMs);
    await runtime.remind("reminder-every", "1h", "5h");
    await this.timeline.settle();
  }

  async #act(): Promise<void> {
    const { timeline } = this;
    const choice = this.#random.next();
    if (choice < 0.4) {
      await timeline.jump(jumps[Math.floor(this.#random.next() * jumps.length)] as number);
    } else if (choice < 0.8) {
      const late = () => (this.#random.next() < 0.3 ? Math.floor(this.#random.next() * 90_000) : 0);
      await timeline.pass(Math.floor(this.#random.next() * 8 * hourMs), late);
    } else if (timeline.isUp) await timeline.down();
    else await timeline.up();
  }

  #repeats(name: string, everyMs: number, fromMs: number): void {
    const repeated = { everyMs, fromMs, nextMs: 0, count: 0 };
    repeated.nextMs = after(repeated, Math.max(this.timeline.clock.now(), fromMs));
    this.#repeated.set(name, repeated);
  }

  #came(name: string, occurrenceMs: number | undefined): void {
    const nowMs = this.timeline.clock.now();
    const repeated = this.#repeated.get(name);
    if (repeated === undefined) {
      const dueMs = this.#once.get(name);
      if (dueMs === undefined) this.#problems.push(`${name} came again`);
      else if (nowMs < dueMs) this.#problems.push(`${name} came ${dueMs - nowMs} ms early`);
      this.#once.delete(name);
      return;
    }
    const { nextMs } = repeated;
    if (nowMs < nextMs) this.#problems.push(`${name} came ${nextMs - nowMs} ms early`);
    repeated.count++;
    repeated.nextMs = after(repeated, Math.max(nowMs, nextMs));
    const newestMs = repeated.nextMs - repeated.everyMs;
    if (occurrenceMs !== undefined && occurrenceMs !== newestMs)
      this.#problems.push(`${name} came for ${occurrenceMs}, the newest was ${newestMs}`);
  }

  /** While the runtime is up nothing that is due is left. */
  #look(when: string): void {
    if (this.timeline.isUp) {
      const nowMs = this.timeline.clock.now();
      for (const [name, dueMs] of this.#once)
        if (dueMs <= nowMs) this.#problems.push(`${name} was lost (${nowMs - dueMs} ms late)`);
      for (const [name, { nextMs }] of this.#repeated)
        if (nextMs <= nowMs) this.#problems.push(`${name} was lost (${nowMs - nextMs} ms late)`);
    }
    expect({ when, problems: this.#problems }).toEqual({ when, problems: [] });
  }
}

/** The first moment of the grid after one. */
function after({ everyMs, fromMs }: Repeated, ms: number): number {
  return fromMs + (Math.floor((ms - fromMs) / everyMs) + 1) * everyMs;
}
