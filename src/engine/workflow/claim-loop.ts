import { type ClockTimer, sleep } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Delivery, Store } from "../store/store.ts";
import { workers } from "./names.ts";

export interface ClaimLoopOptions {
  store: Store;
  edges: Edges;
  log: Log;
  topic: string;
  /** Jobs at once; asked before each claim. */
  jobsMax(): number;
  /** Messages that belong together come to one job; those of an instance do. */
  jobOf(delivery: Delivery): string;
  /** Acknowledges the messages in its own commit, or gives them back. Never rejects. */
  handle(deliveries: Delivery[]): Promise<void>;
}

/** How long claimed work is ours without a word from us: what a killed runtime leaves behind waits for so long. */
const leaseMs = 10_000;
const extendEveryMs = 3_000;
const claimWaitMs = 30_000;
const retryMs = 1_000;
/** Messages of one claim. */
const claimMax = 256;

/** Claims work while there is room for it and keeps the leases of what is being done. */
export class ClaimLoop {
  readonly #options: ClaimLoopOptions;
  readonly #owner: string;
  readonly #stop = new AbortController();
  readonly #claimed = new Set<Delivery>();
  readonly #jobs = new Set<Promise<void>>();
  #loop: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #extension: ClockTimer | undefined;

  constructor(options: ClaimLoopOptions) {
    this.#options = options;
    this.#owner = options.edges.random.uuid();
  }

  start(): void {
    this.#loop ??= this.#run();
    this.#scheduleExtension();
  }

  /** Claims no more and waits for the jobs that run: their worker has gone or answers. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#loop;
    await Promise.all(this.#jobs);
    this.#extension?.cancel();
  }

  /** There may be more room than before. */
  lookAgain(): void {
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { store, edges, log, topic, jobsMax } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const room = jobsMax() - this.#jobs.size;
      if (room <= 0) {
        await this.#untilRoom();
        continue;
      }
      try {
        const max = Math.min(room, claimMax);
        const owner = this.#owner;
        const request = {
          topic,
          group: workers,
          owner,
          max,
          leaseMs,
          waitMs: claimWaitMs,
          signal,
          together: true,
        };
        this.#startJobs(await store.claim(request));
      } catch (error) {
        if (signal.aborted) return;
        log.error({ error, topic }, "work could not be claimed, trying again");
        await sleep(edges.clock, retryMs, signal);
      }
    }
  }

  #untilRoom(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #startJobs(deliveries: Delivery[]): void {
    const jobs = new Map<string, Delivery[]>();
    for (const delivery of deliveries) {
      const name = this.#options.jobOf(delivery);
      const together = jobs.get(name);
      if (together === undefined) jobs.set(name, [delivery]);
      else together.push(delivery);
    }
    for (const together of jobs.values()) this.#startJob(together);
  }

  #startJob(deliveries: Delivery[]): void {
    for (const delivery of deliveries) this.#claimed.add(delivery);
    const job = this.#options.handle(deliveries).finally(() => {
      for (const delivery of deliveries) this.#claimed.delete(delivery);
      this.#jobs.delete(job);
      this.#wake?.();
    });
    this.#jobs.add(job);
  }

  #scheduleExtension(): void {
    const { clock } = this.#options.edges;
    this.#extension = clock.setTimer(extendEveryMs, () => void this.#extend(), { background: true });
  }

  /** A lease that is lost nevertheless shows in the commit of its job, which conflicts. */
  async #extend(): Promise<void> {
    const { store, log } = this.#options;
    if (this.#claimed.size > 0) {
      await store
        .extend([...this.#claimed], leaseMs)
        .catch((error) => log.warn({ error }, "leases of workflow work could not be extended"));
    }
    if (!this.#stop.signal.aborted || this.#jobs.size > 0) this.#scheduleExtension();
  }
}
