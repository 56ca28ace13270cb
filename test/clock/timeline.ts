// Time passes for a runtime, from one due moment to the next; meanwhile the wall clock is set and the runtime is away.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock, type SimulatedEdges, simulatedEdges } from "../../src/edges/simulated.ts";
import type { ScheduleResource, ScheduleSpec } from "../../src/resource/resource.ts";
import { type Came, Runtime } from "./runtime.ts";

/** Of real time: a machine may be busy. */
const patienceMs = 30_000;
/** How soon a clock that was set is noticed. */
const noticeMs = 30_000;

export interface TimelineOptions {
  startMs: number;
  seed?: number;
  schedules?: readonly ScheduleResource[];
  hasWorkflows?: boolean;
  came: Came;
}

export class Timeline {
  readonly edges: SimulatedEdges;
  readonly clock: SimulatedClock;
  readonly #options: TimelineOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), "mecha-clock-"));
  #runtime: Runtime | undefined;

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.clock = new SimulatedClock(options.startMs);
    this.edges = { ...simulatedEdges(options.seed ?? 1), clock: this.clock };
  }

  get runtime(): Runtime {
    if (this.#runtime === undefined) throw new Error("the runtime is down");
    return this.#runtime;
  }

  get isUp(): boolean {
    return this.#runtime !== undefined;
  }

  async up(): Promise<void> {
    const { edges } = this;
    this.#runtime = await Runtime.open({ ...this.#options, folder: this.#folder, edges });
    await this.settle();
  }

  async down(): Promise<void> {
    const runtime = this.runtime;
    this.#runtime = undefined;
    await runtime.close();
  }

  /** The wall clock is set. */
  async jump(byMs: number): Promise<void> {
    this.clock.jump(this.clock.now() + byMs);
    if (!this.isUp) return;
    this.clock.advance(noticeMs);
    await this.settle();
  }

  /** Time passes, from one due moment to the next; `lateMs`: the runtime is so late at each. */
  async pass(spanMs: number, lateMs: () => number = () => 0): Promise<void> {
    if (!this.isUp) return this.clock.advance(spanMs);
    const endMs = this.clock.monotonicMs() + spanMs;
    for (let leftMs = spanMs; leftMs > 0; leftMs = endMs - this.clock.monotonicMs()) {
      const dueMs = Math.min(...(await this.settle()).map(({ dueAtMs }) => dueAtMs));
      this.clock.advance(Math.min(dueMs - this.clock.now() + lateMs(), leftMs));
      await this.settle();
    }
  }

  /** The runtime is away until a second before a moment, and passes it: months of a runtime at rest cost too much. */
  async passTo(moment: string): Promise<void> {
    const spanMs = Date.parse(moment) - this.clock.now();
    await this.down();
    await this.pass(spanMs - 1000);
    await this.up();
    await this.pass(1000);
  }

  /** Waits until all that is due is done; answers what is not due yet. */
  async settle() {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      const timers = await this.runtime.idleTimers(this.clock.now());
      if (timers !== undefined) return timers;
      if (performance.now() > untilMs) throw new Error(`what is due was not done in ${patienceMs / 1000} s`);
      await Bun.sleep(1);
    }
  }

  async close(): Promise<void> {
    await this.#runtime?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function schedule(name: string, spec: Partial<ScheduleSpec>): ScheduleResource {
  return {
    kind: "Schedule",
    name,
    spec: {
      contentType: "application/json",
      to: { kind: "topic", pubsub: "p", topic: "t", metadata: {} },
      delivery: { retry: 0, backoffPolicy: "linear", backoffDelayMs: 1, maxDelayMs: 1, timeoutMs: 1000 },
      concurrencyPolicy: "Allow",
      catchUp: { kind: "last" },
      suspend: false,
      singleton: false,
      ...spec,
    },
    at: () => ({ file: "schedule.yaml", line: 1, column: 1 }),
  } as unknown as ScheduleResource;
}
