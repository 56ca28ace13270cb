import { EtagMismatch, type GetRequest, type StateOperation } from "../component/state-store.ts";
import type { ActorRef, Fence } from "../engine/actors/engine.ts";
import { requireRoom, requireTransactions } from "./actor-store.ts";
import type { Call } from "./call.ts";
import type { StateTarget } from "./state-target.ts";

/**
 * Ownership of an actor in a state store that knows nothing of leases: a row beside the actor's values says which
 * activation has them. It is written before an activation reads or writes its first value, after a look at the lease,
 * and each transaction holds it with the etag of the row that was read. A host that lost the actor, however long it was
 * stopped in the middle, finds another activation's row or fails on the etag.
 */

/** An activation is known by the object of its fence. */
const taken = new WeakMap<Fence, Promise<string>>();
const last = new WeakMap<Fence, Promise<void>>();

/** The values are this activation's from now on, unless another one takes them. */
export function takeValues(fence: Fence, row: FenceRow): Promise<string> {
  let taking = taken.get(fence);
  if (taking === undefined) {
    taking = take(fence, row);
    taken.set(fence, taking);
    taking.catch(() => taken.delete(fence));
  }
  return taking;
}

/** Rejects when somebody else has the actor by now. Those of one activation go one after the other. */
export async function transactOwned(
  fence: Fence,
  row: FenceRow,
  operations: readonly StateOperation[],
): Promise<void> {
  const before = last.get(fence);
  const mine = transact(fence, row, operations, before);
  const settled = mine.catch(() => undefined);
  last.set(fence, settled);
  await mine;
}

async function transact(
  fence: Fence,
  row: FenceRow,
  operations: readonly StateOperation[],
  before: Promise<void> | undefined,
): Promise<void> {
  await before;
  const activation = await takeValues(fence, row);
  const found = await row.read();
  if (found?.activation !== activation) throw new NotOwner();
  const next = { activation, write: crypto.randomUUID() };
  try {
    await row.write(next, found.etag, operations);
  } catch (error) {
    if (!(error instanceof EtagMismatch)) throw error;
    const now = await row.read();
    if (now?.activation !== activation) throw new NotOwner();
    // It was done before the answer was lost; else an etag of the operations themselves is the wrong one.
    if (now.write !== next.write) throw error;
  }
}

async function take(fence: Fence, row: FenceRow): Promise<string> {
  const activation = crypto.randomUUID();
  for (let tries = 1; ; tries++) {
    const found = await row.read();
    if (found?.activation === activation) return activation;
    // Who owns the actor after this look writes the row after it, and then this etag is an old one.
    if (!(await row.isHeld(fence))) throw new NotOwner();
    try {
      await row.write({ activation, write: "" }, found?.etag, []);
      return activation;
    } catch (error) {
      if (!(error instanceof EtagMismatch) || tries === triesMax) throw error;
    }
  }
}

const triesMax = 10;

export class NotOwner extends Error {
  constructor() {
    super("this host does not own the actor any more");
  }
}

interface FenceValue {
  /** Who has the values. */
  activation: string;
  /** Its last transaction. */
  write: string;
}

/** The row of one actor, as one call reaches it. */
export class FenceRow {
  readonly #target: StateTarget;
  readonly #call: Call;
  readonly #actor: ActorRef;
  readonly #key: string;
  readonly #metadata: Record<string, string>;

  /** `prefix`: what the keys of the actor begin with. */
  constructor(target: StateTarget, call: Call, { actor, prefix }: { actor: ActorRef; prefix: string }) {
    this.#target = target;
    this.#call = call;
    this.#actor = actor;
    this.#key = `${prefix}mecha-owner`;
    this.#metadata = { partitionKey: prefix.slice(0, -"||".length) };
  }

  /** The lease is held, and the activation is this host's still. */
  async isHeld(fence: Fence): Promise<boolean> {
    const { actors } = this.#call.app;
    return (await actors.isHeld(fence)) && actors.fence(this.#actor) === fence;
  }

  async read(): Promise<(FenceValue & { etag: string }) | undefined> {
    const request: GetRequest = { key: this.#key, metadata: this.#metadata };
    const target = this.#target;
    const entry = await target.run("get", () => target.store.get(request), this.#call, {
      names: [this.#key],
    });
    if (entry === undefined) return undefined;
    return { ...(JSON.parse(Buffer.from(entry.value).toString("utf8")) as FenceValue), etag: entry.etag };
  }

  /** The row and the operations, when the row's etag is still the one given; absent: when there is no row. */
  async write(
    value: FenceValue,
    etag: string | undefined,
    operations: readonly StateOperation[],
  ): Promise<void> {
    const guard = etag === undefined ? { concurrency: "first-write" as const } : { etag };
    const bytes = Buffer.from(JSON.stringify(value));
    const request = { key: this.#key, value: bytes, ...guard, metadata: this.#metadata };
    const all: StateOperation[] = [{ kind: "upsert", request }, ...operations];
    const transact = requireTransactions(this.#target);
    requireRoom(this.#target, all.length);
    const names = all.map((operation) => operation.request.key);
    await this.#target.run("transaction", () => transact(all, this.#metadata), this.#call, { names });
  }
}
