import { SimulatedClock } from "../../../src/edges/simulated.ts";
import type { Delivery, NewMessage, Store, StoreConflict } from "../../../src/engine/store/store.ts";

/** One home of the store under test, empty at first. */
export interface StoreHome {
  /** Opens a store on the same data; called again: as another process would. */
  open(clock: SimulatedClock): Promise<Store>;
  remove(): Promise<void>;
}

export interface StoreUnderTest {
  store: Store;
  clock: SimulatedClock;
  home: StoreHome;
  another(): Promise<Store>;
}

/** Runs one test against a fresh store and takes everything away afterwards. */
export function withStore(
  makeHome: () => Promise<StoreHome>,
  test: (under: StoreUnderTest) => Promise<void>,
): () => Promise<void> {
  return async () => {
    const home = await makeHome();
    const clock = new SimulatedClock();
    const opened: Store[] = [];
    const another = async (): Promise<Store> => {
      const store = await home.open(clock);
      opened.push(store);
      return store;
    };
    try {
      await test({ store: await another(), clock, home, another });
    } finally {
      await Promise.all(opened.map((store) => store.close()));
      await home.remove();
    }
  };
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value && new TextDecoder().decode(value);
}

/** The conflict a promise rejects with; fails when it does not. */
export async function conflictOf(
  promise: Promise<unknown>,
): Promise<Pick<StoreConflict, "index" | "reason">> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error) || error.name !== "StoreConflict") {
    throw new Error(`expected a StoreConflict, got ${String(error)}`);
  }
  const { index, reason } = error as StoreConflict;
  return { index, reason };
}

export async function append(
  store: Store,
  topic: string,
  data: string,
  more: Partial<NewMessage> = {},
): Promise<number> {
  const [outcome] = await store.commit([{ kind: "append", topic, message: { data: bytes(data), ...more } }]);
  return outcome?.offset ?? -1;
}

export interface ClaimChoice {
  group?: string;
  owner?: string;
  max?: number;
  leaseMs?: number;
  waitMs?: number;
}

/** Claims of topic "orders" for group "g" unless told otherwise. */
export function claim(store: Store, choice: ClaimChoice = {}): Promise<Delivery[]> {
  const { group = "g", owner = "me", max = 10, leaseMs = 1000, waitMs = 0 } = choice;
  return store.claim({ topic: "orders", group, owner, max, leaseMs, waitMs });
}

export function texts(deliveries: readonly Delivery[]): (string | undefined)[] {
  return deliveries.map((delivery) => text(delivery.data));
}

export async function ack(store: Store, ...deliveries: Delivery[]): Promise<void> {
  await store.commit(deliveries.map((delivery) => ({ kind: "ack", delivery })));
}

/** Waits for a condition with a deadline; never for a time. */
export async function eventually(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 5000,
): Promise<void> {
  const giveUpAt = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`did not happen within ${withinMs} ms: ${what}`);
    await Bun.sleep(2);
  }
}

/** Lets simulated time pass until the promise settles. */
export async function passTime(clock: SimulatedClock, until: Promise<unknown>): Promise<void> {
  let isSettled = false;
  const settle = (): void => {
    isSettled = true;
  };
  until.then(settle, settle);
  await eventually(() => {
    if (!isSettled) clock.advance(100);
    return isSettled;
  }, "the promise settles while time passes");
}
