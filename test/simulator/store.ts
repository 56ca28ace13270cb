import type { Random } from "../../src/edges/random.ts";
import type { WriteOperation } from "../../src/engine/store/sqlite/batch-codec.ts";
import { StandingClaims } from "../../src/engine/store/sqlite/standing-claims.ts";
import { settle, type WriteThread } from "../../src/engine/store/sqlite/write-thread.ts";
import { SqliteStore } from "../../src/engine/store/sqlite.ts";
import { type FeedListener, type Store, StoreUnavailable } from "../../src/engine/store/store.ts";
import type { SimulatedDisk } from "./disk.ts";
import { between, chance, type SimulatedHost } from "./host.ts";

/** What goes wrong between a host and the disk, as shares of the operations. */
export interface DiskFaults {
  /** Fail before anything was written. */
  refused: number;
  /** Are written though the host is told that they failed. */
  unanswered: number;
  /** Take up to two seconds instead of some milliseconds. */
  slow: number;
}

export interface SimulatedStoreOptions {
  host: SimulatedHost;
  disk: SimulatedDisk;
  random: Random;
  faults: DiskFaults;
  /** Tells the other hosts what a commit has touched; this one as well when it never hears of its own. */
  announce(channels: readonly string[], isLost: boolean): void;
  onLostAnswer(): void;
}

const quickMs = 5;
const slowMs = 2_000;

/** One host's store: the real one, but for the thread and the files under it. Writes may overtake each other. */
export class SimulatedStore {
  readonly store: Store;
  readonly #options: SimulatedStoreOptions;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  readonly #standing = new StandingClaims();

  constructor(options: SimulatedStoreOptions) {
    const { host, disk } = options;
    this.#options = options;
    this.store = new SqliteStore({
      clock: host.clock,
      reads: disk.reads,
      feeds: { watch: (channel, listener) => this.#watch(channel, listener) },
      standing: this.#standing,
      thread: { write: ((operation: WriteOperation) => this.#write(operation)) as WriteThread["write"] },
      ownerOf: (owner) => `${host.name}|${owner}`,
      bytesOnDisk: () => 0,
      close: async () => {},
    });
  }

  /** A commit of some host has reached this one. */
  hear(channel: string, isOwn: boolean): void {
    for (const listener of [...(this.#listeners.get(channel) ?? [])]) listener(isOwn);
  }

  #watch(channel: string, listener: FeedListener): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  #write(operation: WriteOperation): Promise<{ value: unknown; bytes: Uint8Array }> {
    const { host, random, faults } = this.#options;
    if (operation.op === "commit") this.#stand(operation.mutations);
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      const wayMs = between(random, 0, chance(random, faults.slow) ? slowMs : quickMs);
      host.clock.setTimer(wayMs, () => this.#arrive(operation, waiting));
    });
  }

  #arrive(operation: WriteOperation, waiting: Parameters<typeof settle>[0]): void {
    const { host, disk, random, faults, announce } = this.#options;
    if (chance(random, faults.refused)) {
      waiting.reject(new StoreUnavailable("busy", "simulated: nothing was written"));
      return;
    }
    const { answer, bytes, touched } = disk.apply(host.clock.now(), operation);
    const isLost = chance(random, faults.unanswered);
    if (isLost) this.#options.onLostAnswer();
    announce(touched, isLost);
    host.clock.setTimer(between(random, 0, quickMs), () => {
      if (isLost) return waiting.reject(new StoreUnavailable("crashed", "simulated: the answer was lost"));
      settle(waiting, answer, bytes);
      for (const channel of touched) this.hear(channel, true);
    });
  }

  #stand(mutations: Extract<WriteOperation, { op: "commit" }>["mutations"]): void {
    const topics = new Set<string>();
    for (const mutation of mutations)
      if (mutation.kind === "append" || mutation.kind === "deadLetter") topics.add(mutation.topic);
    if (topics.size > 0) this.#standing.makeFor(topics);
  }
}
