/** What the child tells its parent, a line each, written before it does a thing and after it was acknowledged. */
export type Entry =
  | { t: "ready" }
  /** About to put (or with `null` delete) a key that only this lane of this child writes. */
  | { t: "put"; key: string; value: string | null }
  | { t: "putDone"; key: string }
  /** About to write key, message, timer and history event of one id in one commit. */
  | { t: "batch"; id: string }
  | { t: "batchDone"; id: string }
  | { t: "publish"; id: string }
  | { t: "publishDone"; id: string }
  | { t: "deliver"; group: string; id: string; claim: number }
  /** About to acknowledge and put the effect of the message, in one commit. */
  | { t: "ack"; group: string; id: string }
  | { t: "ackDone"; group: string; id: string; claim: number }
  | { t: "lease"; name: string; owner: string; token: number }
  /** Something the child itself saw that must not be. */
  | { t: "broken"; what: string };

export const groups = ["g1", "g2"] as const;
export const ordersTopic = "orders";
export const batchTopic = "batches";
export const batchSpace = "batches";
export const keySpace = "keys";
export const effectSpace = "effects";

export function effectKey(group: string, id: string): string {
  return `${group}/${id}`;
}

/** All that was promised so far, over all rounds on one folder. */
export class Journal {
  readonly broken: string[] = [];
  /** Value last acknowledged, and those that may have been written since. */
  readonly keys = new Map<string, { known: string | null; maybe: (string | null)[] }>();
  readonly batches = new Map<string, "tried" | "done">();
  readonly published = new Map<string, "tried" | "done">();
  readonly acked = new Map<string, "tried" | "done">();
  readonly #ackedClaims = new Map<string, number>();
  readonly leases = new Map<string, { owner: string; token: number }[]>();
  acknowledged = 0;

  add(entry: Entry): void {
    if (entry.t.endsWith("Done")) this.acknowledged += 1;
    switch (entry.t) {
      case "put":
        this.#key(entry.key).maybe.push(entry.value);
        return;
      case "putDone":
        this.#settle(entry.key);
        return;
      case "batch":
      case "batchDone":
        this.batches.set(entry.id, entry.t === "batch" ? "tried" : "done");
        return;
      case "publish":
      case "publishDone":
        this.published.set(entry.id, entry.t === "publish" ? "tried" : "done");
        return;
      case "deliver":
        this.#delivered(entry);
        return;
      case "ack":
        this.acked.set(effectKey(entry.group, entry.id), "tried");
        return;
      case "ackDone":
        this.acked.set(effectKey(entry.group, entry.id), "done");
        this.#ackedClaims.set(effectKey(entry.group, entry.id), entry.claim);
        return;
      case "lease":
        this.#lease(entry);
        return;
      case "broken":
        this.broken.push(entry.what);
    }
  }

  /** After a crash: what is there now is what was written. */
  found(key: string, value: string | null): void {
    this.keys.set(key, { known: value, maybe: [] });
  }

  /** Lines of two children may come late: claims are numbered in the order they were made. */
  #delivered({ group, id, claim }: Extract<Entry, { t: "deliver" }>): void {
    const ackedClaim = this.#ackedClaims.get(effectKey(group, id)) ?? claim;
    if (claim > ackedClaim)
      this.broken.push(`message ${id} came to ${group} again after its acknowledged ack`);
  }

  #settle(key: string): void {
    const state = this.#key(key);
    state.known = state.maybe.at(-1) ?? null;
    state.maybe = [];
  }

  #key(key: string): { known: string | null; maybe: (string | null)[] } {
    const state = this.keys.get(key) ?? { known: null, maybe: [] };
    this.keys.set(key, state);
    return state;
  }

  /** Lines of one child come in order; those of two children at once may not: only the same owner is compared. */
  #lease({ name, owner, token }: Extract<Entry, { t: "lease" }>): void {
    const held = this.leases.get(name) ?? [];
    this.leases.set(name, held);
    const others = held.filter((lease) => lease.token === token && lease.owner !== owner);
    const own = held.filter((lease) => lease.owner === owner).at(-1);
    if (others.length > 0) this.broken.push(`token ${token} of lease ${name} was given to two owners`);
    if (own && own.token > token) this.broken.push(`tokens of lease ${name} went back for ${owner}`);
    if (own?.token !== token) held.push({ owner, token });
  }
}
