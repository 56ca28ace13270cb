import type { Clock, ClockTimer } from "../../../edges/clock.ts";
import type { Random } from "../../../edges/random.ts";
import type { Retention } from "../sqlite/batch-codec.ts";
import { isDead, markOf } from "../sqlite/process-mark.ts";
import type { Link } from "./link.ts";

export interface SweeperOptions {
  clock: Clock;
  random: Random;
  link: Link;
  lockClass: number;
  nowMs(): number | undefined;
  retention: Retention;
  everyMs: number;
  /** Lets go of what dead processes have claimed. */
  release(owners: string[]): Promise<void>;
}

const sweptPerSlice = 2_000;

/** Removes what is expired or handled, in slices, in the background. Of many processes one does it at a time. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: ClockTimer | undefined;
  #isClosed = false;
  #round: Promise<void> | undefined;
  #lastTopic = 0;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#later(0);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#round;
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    const run = (): void => {
      this.#round = this.#sweep();
    };
    this.#timer = this.#options.clock.setTimer(delayMs, run, { background: true });
  }

  async #sweep(): Promise<void> {
    const { everyMs, random } = this.#options;
    try {
      await this.#releaseDead();
      this.#lastTopic = await this.#slice();
    } catch {
      // The server is away or busy: a later round does the work.
    }
    this.#later(this.#lastTopic > 0 ? 1 : everyMs * (0.75 + random.next() / 2));
  }

  async #slice(): Promise<number> {
    const { link, lockClass, retention, nowMs } = this.#options;
    const [row] = await link.write<{ next: number }>("SELECT sweep($1, $2, $3, $4, $5, $6) AS next", [
      lockClass,
      this.#lastTopic,
      Math.ceil(retention.ageMs),
      Math.ceil(retention.bytes),
      sweptPerSlice,
      nowMs() ?? null,
    ]);
    return row?.next ?? 0;
  }

  /** Of this machine only: elsewhere the ends of leases tell. */
  async #releaseDead(): Promise<void> {
    const { link, release } = this.#options;
    const rows = await link.read<{ owner: string }>(
      `SELECT DISTINCT owner FROM (SELECT owner FROM claims WHERE owner IS NOT NULL LIMIT 10000) AS claimed_by
       UNION SELECT DISTINCT owner FROM timers WHERE owner IS NOT NULL`,
    );
    const dead = rows.map(({ owner }) => owner).filter((owner) => isDead(markOf(owner)));
    if (dead.length === 0) return;
    await release(dead);
  }
}
