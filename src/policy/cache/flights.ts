/** Leaders that may fail one after the other before those who follow are told so. */
const roundsMax = 3;

/** Equal work in flight is done once: who comes meanwhile waits for what it brings. */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  get size(): number {
    return this.#flights.size;
  }

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** Who comes from now on starts anew: what is on its way was asked for before something changed. */
  forget(key: string): void {
    this.#flights.delete(key);
  }

  forgetAll(): void {
    this.#flights.clear();
  }

  /**
   * Waits for the flight of the key, or leads one. When a leader fails, one of those who waited leads again. The work
   * is given up when nobody waits for it any more, not when the one who began it leaves.
   */
  async join(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<{ value: T; isLeader: boolean }> {
    for (let round = 1; ; round++) {
      const known = this.#flights.get(key);
      if (known === undefined) return { value: await this.#start(key, work).wait(signal), isLeader: true };
      try {
        return { value: await known.wait(signal), isLeader: false };
      } catch (error) {
        if (signal?.aborted || round >= roundsMax) throw error;
      }
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const flight = new Flight(work, () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }
}

class Flight<T> {
  readonly #result: Promise<T>;
  readonly #abort = new AbortController();
  readonly #ended: () => void;
  #waiting = 0;

  constructor(work: (signal: AbortSignal) => Promise<T>, ended: () => void) {
    this.#ended = ended;
    // Begun a moment later: `ended` must find the flight in its place.
    this.#result = Promise.resolve()
      .then(() => work(this.#abort.signal))
      .finally(ended);
    this.#result.catch(() => {});
  }

  wait(signal: AbortSignal | undefined): Promise<T> {
    this.#waiting++;
    return new Promise<T>((resolve, reject) => {
      const leave = (): void => {
        this.#leave();
        reject(signal?.reason);
      };
      if (signal?.aborted) return leave();
      signal?.addEventListener("abort", leave, { once: true });
      const done = (): void => signal?.removeEventListener("abort", leave);
      this.#result.then(
        (value) => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          reject(error);
        },
      );
    });
  }

  #leave(): void {
    if (--this.#waiting > 0) return;
    this.#ended();
    this.#abort.abort(new Error("everybody who waited for it has left"));
  }
}
