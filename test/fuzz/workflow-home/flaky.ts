import {
  type BulkEntry,
  EtagMismatch,
  type StateEntry,
  type StateOperation,
} from "../../../src/component/state-store.ts";
import { type Store, StoreUnavailable } from "../../../src/engine/store/store.ts";
import type { InstanceStore } from "../../../src/engine/workflow/instance-store.ts";

/** Chance that a write fails before it was done, and again that only its answer is lost. */
export interface Failing {
  chance: number;
  next(): number;
  /** How many did. */
  count: number;
}

async function flaky<T>(failing: Failing, error: (why: string) => Error, work: () => Promise<T>): Promise<T> {
  if (failing.next() < failing.chance) {
    failing.count += 1;
    throw error("not done");
  }
  const result = await work();
  if (failing.next() < failing.chance) {
    failing.count += 1;
    throw error("done, and the answer was lost");
  }
  return result;
}

/** An engine's store whose commits fail now and then, as those of a dying process do. */
export function flakyStore(store: Store, failing: Failing): Store {
  const commit: Store["commit"] = (mutations) =>
    flaky(
      failing,
      (why) => new StoreUnavailable("crashed", why),
      () => store.commit(mutations),
    );
  return new Proxy(store, {
    get(target, name) {
      if (name === "commit") return commit;
      const member = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

/** A user's state store in memory, whose transactions fail now and then and take their time. */
export class FlakyRows implements InstanceStore {
  readonly name = "flaky";
  readonly operationsMax = undefined;
  readonly keysLike = undefined;
  readonly values = new Map<string, StateEntry>();
  readonly #failing: Failing;
  #etags = 0;

  constructor(failing: Failing) {
    this.#failing = failing;
  }

  async get({ key }: { key: string }): Promise<StateEntry | undefined> {
    await this.#wait();
    return this.values.get(key);
  }

  async bulkGet(requests: readonly { key: string }[]): Promise<BulkEntry[]> {
    await this.#wait();
    return requests.flatMap(({ key }) => {
      const entry = this.values.get(key);
      return entry ? [{ key, ...entry }] : [];
    });
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    await this.#wait();
    await flaky(
      this.#failing,
      (why) => new Error(why),
      async () => this.#apply(operations),
    );
    await this.#wait();
  }

  #apply(operations: readonly StateOperation[]): void {
    for (const { kind, request } of operations) {
      const found = this.values.get(request.key)?.etag;
      const isFirst = kind === "upsert" && request.concurrency === "first-write";
      if (isFirst ? found !== undefined : request.etag !== undefined && request.etag !== found)
        throw new EtagMismatch();
    }
    for (const { kind, request } of operations) {
      if (kind === "delete") this.values.delete(request.key);
      else this.values.set(request.key, { value: request.value, etag: String(++this.#etags) });
    }
  }

  #wait(): Promise<void> {
    return this.#failing.next() < 0.3 ? Bun.sleep(this.#failing.next() * 3) : Promise.resolve();
  }
}
