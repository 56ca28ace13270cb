import { fromBinary } from "@bufbuild/protobuf";
import type { ClockTimer } from "../../edges/clock.ts";
import { HistoryEventSchema } from "../../wire/orchestrator_service_pb.js";
import { type Mutation, StoreConflict, type Timer } from "../store/store.ts";
import type { EngineParts } from "./engine-parts.ts";
import { parseTimerName, type TimerName, toInbox } from "./messages.ts";
import { timerSpace } from "./names.ts";

const leaseMs = 10_000;
const claimMax = 500;
const retryMs = 1_000;
/** A look even when no feed came: clocks may be set. */
const lookMs = 30_000;

export interface TimerPumpOptions {
  parts: EngineParts;
  /** Purges an instance whose time is over, when it still is the same execution. */
  purge(name: TimerName, data: Uint8Array): Promise<void>;
}

/** Puts the events of timers that are due into the inboxes. Without timers it sleeps until the store tells of one. */
export class TimerPump {
  readonly #options: TimerPumpOptions;
  readonly #owner: string;
  #timer: ClockTimer | undefined;
  #unwatch: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;
  #isClosed = false;

  constructor(options: TimerPumpOptions) {
    this.#options = options;
    this.#owner = options.parts.edges.random.uuid();
  }

  start(): void {
    const { store, app } = this.#options.parts;
    this.#unwatch = store.watch(`timers:${timerSpace(app)}`, () => this.#look());
    this.#look();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch?.();
    this.#timer?.cancel();
    await this.#running;
  }

  #look(): void {
    if (this.#isClosed) return;
    if (this.#running !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#timer?.cancel();
    this.#running = this.#fire().finally(() => {
      this.#running = undefined;
      if (!this.#isAskedAgain) return;
      this.#isAskedAgain = false;
      this.#look();
    });
  }

  async #fire(): Promise<void> {
    const { store, app, edges, telemetry } = this.#options.parts;
    const space = timerSpace(app);
    try {
      for (;;) {
        const nextMs = await store.nextTimerAt(space);
        if (this.#isClosed) return;
        const nowMs = edges.clock.now();
        if (nextMs === undefined || nextMs > nowMs) {
          if (nextMs !== undefined) this.#sleep(Math.min(nextMs - nowMs, lookMs));
          return;
        }
        const request = { space, owner: this.#owner, nowMs, max: claimMax, leaseMs };
        const timers = await store.claimTimers(request);
        await Promise.all(timers.map((timer) => this.#deliver(timer)));
      }
    } catch (error) {
      telemetry.log.error({ error }, "workflow timers could not be fired, trying again");
      this.#sleep(retryMs);
    }
  }

  #sleep(delayMs: number): void {
    if (this.#isClosed) return;
    const { clock } = this.#options.parts.edges;
    // Rounded up: a timer must not come before its time.
    this.#timer = clock.setTimer(Math.ceil(delayMs), () => this.#look(), { background: true });
  }

  async #deliver(timer: Timer): Promise<void> {
    const { commits } = this.#options.parts;
    const name = parseTimerName(timer.id);
    const done: Mutation = { kind: "timerDone", timer };
    try {
      if (name?.purpose === "purge") await this.#options.purge(name, timer.data);
      const messages = name === undefined || name.purpose === "purge" ? [] : [this.#message(name, timer)];
      await commits.commit([done, ...messages]);
    } catch (error) {
      // Deleted meanwhile, or somebody else's.
      if (!(error instanceof StoreConflict)) throw error;
    }
  }

  #message({ instanceId, executionId }: TimerName, { data }: Timer): Mutation {
    const { app } = this.#options.parts;
    const isStart = fromBinary(HistoryEventSchema, data).eventType.case === "executionStarted";
    return toInbox(app, instanceId, data, isStart ? undefined : executionId);
  }
}
