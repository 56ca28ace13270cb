import type { Clock } from "../../edges/clock.ts";
import type { Log } from "../../telemetry/telemetry.ts";

interface RenewedOptions<T> {
  /** For the log. */
  name: string;
  load(): Promise<T>;
  clock: Clock;
  log: Log;
  /** After this it is fetched again behind the calls. */
  freshMs: number;
  /** Between two times of fetching what does not have what is looked for. */
  pauseMs: number;
}

const failurePauseMs = 1_000;

/** Something that a server has and that seldom changes: fetched once, renewed; the last good one stays when that fails. */
export class Renewed<T> {
  readonly #options: RenewedOptions<T>;
  #value: T;
  #gotMs: number;
  #askedMs: number;
  #failure: Error | undefined;
  #renewing: Promise<void> | undefined;

  private constructor(options: RenewedOptions<T>, value: T) {
    this.#options = options;
    this.#value = value;
    this.#gotMs = this.#askedMs = options.clock.monotonicMs();
  }

  static async open<T>(options: RenewedOptions<T>): Promise<Renewed<T>> {
    return new Renewed(options, await options.load());
  }

  /** Waits for another one when this is not enough. Rejects when that can not be had. */
  async get(isEnough: (value: T) => boolean): Promise<T> {
    const { clock, freshMs, pauseMs } = this.#options;
    const hasEnough = isEnough(this.#value);
    const nowMs = clock.monotonicMs();
    const waitMs = this.#failure === undefined ? pauseMs : Math.min(failurePauseMs, pauseMs);
    const isDue = nowMs - this.#askedMs >= waitMs;
    const isWanted = !hasEnough || nowMs - this.#gotMs >= freshMs;
    if (isDue && isWanted) this.#renewing ??= this.#renew();
    if (hasEnough) return this.#value;
    await this.#renewing;
    if (this.#failure !== undefined) throw this.#failure;
    return this.#value;
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    const { name, load, clock, log } = this.#options;
    this.#askedMs = clock.monotonicMs();
    try {
      this.#value = await load();
      this.#gotMs = clock.monotonicMs();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error as Error;
      log.warn({ error: this.#failure }, `${name} could not be renewed; what was there before stays`);
    } finally {
      this.#renewing = undefined;
    }
  }
}
