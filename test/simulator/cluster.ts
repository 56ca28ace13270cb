import { createHash } from "node:crypto";
import type { Random } from "../../src/edges/random.ts";
import { seededRandom } from "../../src/edges/simulated.ts";
import type { Answer, WriteOperation } from "../../src/engine/store/sqlite/batch-codec.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { Log } from "../../src/telemetry/telemetry.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";
import { EventClock } from "./clock.ts";
import { SimulatedDisk } from "./disk.ts";
import { between, chance, oneOf, SimulatedHost } from "./host.ts";
import { type DiskFaults, SimulatedStore } from "./store.ts";

export const startMs = Date.UTC(2026, 2, 1);

/** What a machine begins with. */
export interface Birth {
  host: SimulatedHost;
  store: SimulatedStore;
  random: Random;
}

/** Hosts on one disk, in a time of their own. */
export abstract class Cluster<M extends Pick<Birth, "host" | "store">> {
  readonly clock = new EventClock(startMs);
  readonly disk = new SimulatedDisk();
  readonly random: Random;
  readonly faults: DiskFaults = { refused: 0, unanswered: 0, slow: 0.01 };
  readonly machines: M[] = [];
  /** Crashes, pauses and what else the subclass does to them. */
  disturbances = 0;
  lostAnswers = 0;
  commits = 0;
  readonly #trace = createHash("sha256");
  #incarnations = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.disk.onApplied = (operation, answer) => {
      this.saw(operation, answer);
      this.commits += 1;
      this.#trace.update(`${this.clock.now()} ${operation.op} ${JSON.stringify(answer)}\n`);
    };
  }

  /** Starts everything that runs on a machine. */
  protected abstract boot(birth: Birth): M;

  /** An operation was committed. */
  protected saw(_operation: WriteOperation, _answer: Answer): void {}

  start(hosts: number): void {
    for (let index = 0; index < hosts; index++) this.machines.push(this.#boot());
  }

  /** Of everything that was committed, in order: equal for equal seeds. */
  get trace(): string {
    return this.#trace.copy().digest("hex");
  }

  /** One that works. */
  alive(): M | undefined {
    const all = this.machines.filter(({ host }) => !host.isDead && !host.isPaused);
    return all.length === 0 ? undefined : oneOf(this.random, all);
  }

  /** Goes on until `isDone`, or for so long. */
  async run(spanMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    const endMs = this.clock.monotonicMs() + spanMs;
    while (!isDone()) {
      if (this.clock.monotonicMs() >= endMs || !this.clock.step()) return isDone();
      // All that the timer has set in motion comes to rest before the next one.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  /** kill -9, and another start after a while. */
  crash(index: number): void {
    const machine = this.machines[index] as M;
    if (machine.host.isDead) return;
    machine.host.crash();
    this.disturbances += 1;
    this.clock.setTimer(between(this.random, 50, 3_000), () => {
      this.machines[index] = this.#boot();
    });
    // The others recognise what a dead process holds.
    this.clock.setTimer(between(this.random, 500, 5_000), () => {
      const owners = this.disk.reads.owners().filter((owner) => owner.startsWith(`${machine.host.name}|`));
      const { touched } = this.disk.apply(this.clock.now(), { op: "releaseOwners", owners });
      this.#announce(touched);
    });
  }

  pause(index: number, durationMs: number): void {
    this.disturbances += 1;
    this.machines[index]?.host.pause(durationMs);
  }

  /** All is well from now on. */
  heal(): void {
    Object.assign(this.faults, { refused: 0, unanswered: 0, slow: 0 });
  }

  /**
   * A client that asks one machine or another until it is answered. `then` may come more than once: a machine that
   * stood still answers late, and may have started anew what had ended.
   */
  insist(ask: (machine: M) => Promise<unknown>, then: () => void = () => undefined): void {
    const machine = this.alive();
    const again = (): void => this.insist(ask, then);
    if (machine === undefined) return void this.clock.setTimer(200, again);
    // A machine that dies answers nothing.
    const late = this.clock.setTimer(3_000, again);
    ask(machine).then(
      () => {
        late.cancel();
        then();
      },
      (error: Error) => {
        late.cancel();
        if (error.message.includes("already exists")) then();
        else this.clock.setTimer(200, again);
      },
    );
  }

  close(): void {
    for (const { host } of this.machines) host.crash();
    this.disk.close();
  }

  #announce(channels: readonly string[], but?: SimulatedHost): void {
    for (const machine of this.machines) {
      if (machine.host === but) continue;
      const { clock } = machine.host;
      for (const channel of channels) {
        const delayMs = chance(this.random, 0.05)
          ? between(this.random, 0, 900)
          : between(this.random, 0, 20);
        clock.setTimer(delayMs, () => machine.store.hear(channel, false));
        if (chance(this.random, 0.05)) clock.setTimer(delayMs * 2, () => machine.store.hear(channel, false));
      }
    }
  }

  #boot(): M {
    const host = new SimulatedHost(`host-${this.#incarnations++}`, this.clock);
    const random = seededRandom(Math.floor(this.random.next() * 2 ** 32));
    const store = new SimulatedStore({
      ...{ host, disk: this.disk, random, faults: this.faults },
      announce: (channels, isLost) => this.#announce(channels, isLost ? undefined : host),
      onLostAnswer: () => {
        this.lostAnswers += 1;
      },
    });
    return this.boot({ host, store, random });
  }
}

export const quietTelemetry = () => ({
  log: quiet,
  metrics: createMetrics(),
  tracer: createTracer(0, undefined),
});

const nothing = () => undefined;
const quiet: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => quiet,
};
