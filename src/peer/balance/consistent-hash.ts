import type { Random } from "../../edges/random.ts";
import type { ConsistentHashSpec } from "../../resource/traffic.ts";
import { hashKey } from "./hash-key.ts";
import { createHashTable, type HashTable } from "./hash-table.ts";
import type { CallFacts, Upstream } from "./upstream.ts";

interface Members {
  byIndex: readonly Upstream[];
  table: HashTable;
}

/** A table for each set of instances: the parts of a canary change by the call. */
const tablesMax = 8;

/** The instance that a key of the call belongs to, or the next one that may be called. */
export class ConsistentHash {
  readonly #spec: ConsistentHashSpec;
  #recent: { all: readonly Upstream[]; members: Members } | undefined;
  readonly #tables = new Map<string, Members>();

  constructor(spec: ConsistentHashSpec) {
    this.#spec = spec;
  }

  /** `undefined`: the call has no key. */
  hashOf(call: CallFacts): number | undefined {
    const key = keyOf(this.#spec.key, call);
    return key === undefined ? undefined : hashKey(key);
  }

  choose(hash: number, all: readonly Upstream[], candidates: readonly Upstream[]): Upstream {
    const { byIndex, table } = this.#membersOf(all);
    const may = new Set(candidates);
    const loadMax = this.#loadMax(candidates);
    const start = table.slotOf(hash);
    let first: Upstream | undefined;
    for (let i = 0; i < table.size; i++) {
      const owner = byIndex[table.ownerAt((start + i) % table.size)] as Upstream;
      if (!may.has(owner)) continue;
      first ??= owner;
      if (owner.active < loadMax) return owner;
    }
    // A small table may have no slot for one.
    return first ?? (candidates[0] as Upstream);
  }

  /** Calls under way that one may have when another is to come. */
  #loadMax(candidates: readonly Upstream[]): number {
    const { boundedLoadPercent } = this.#spec;
    if (boundedLoadPercent === 0) return Number.POSITIVE_INFINITY;
    const active = candidates.reduce((sum, upstream) => sum + upstream.active, 0);
    return Math.ceil(((active + 1) / candidates.length) * (boundedLoadPercent / 100));
  }

  #membersOf(all: readonly Upstream[]): Members {
    if (this.#recent?.all !== all) this.#recent = { all, members: this.#findMembers(all) };
    return this.#recent.members;
  }

  #findMembers(all: readonly Upstream[]): Members {
    const byIndex = [...all].sort((a, b) => (a.instance.instanceId < b.instance.instanceId ? -1 : 1));
    const ids = byIndex.map(({ instance }) => instance.instanceId);
    const key = ids.join(" ");
    const known = this.#tables.get(key);
    if (known?.byIndex.every((upstream, index) => upstream === byIndex[index])) return known;
    const members = { byIndex, table: known?.table ?? createHashTable(ids, this.#spec.table) };
    this.#tables.delete(key);
    for (const oldest of this.#tables.keys()) {
      if (this.#tables.size < tablesMax) break;
      this.#tables.delete(oldest);
    }
    this.#tables.set(key, members);
    return members;
  }
}

function keyOf(key: ConsistentHashSpec["key"], call: CallFacts): string | undefined {
  if (key.kind === "header") return call.header(key.name);
  if (key.kind === "cookie") return cookieOf(call.header("cookie"), key.name);
  if (key.kind === "sourceIp") return call.remoteAddress || undefined;
  const query = call.target.indexOf("?");
  if (query < 0) return undefined;
  return new URLSearchParams(call.target.slice(query + 1)).get(key.name) ?? undefined;
}

function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(/[;,]/) ?? []) {
    const split = pair.indexOf("=");
    if (split > 0 && pair.slice(0, split).trim() === name) return pair.slice(split + 1).trim() || undefined;
  }
  return undefined;
}

/** The value of a new cookie and the `Set-Cookie` that keeps it; `undefined` where none is to be made. */
export function newCookie(
  { key }: ConsistentHashSpec,
  random: Random,
): { hash: number; setCookie: string } | undefined {
  if (key.kind !== "cookie" || key.ttlMs === undefined) return undefined;
  const value = Buffer.from(random.bytes(12)).toString("base64url");
  const path = key.path === "" ? "" : `; Path=${key.path}`;
  // A life of nothing is the browser's session.
  const age = key.ttlMs === 0 ? "" : `; Max-Age=${Math.ceil(key.ttlMs / 1000)}`;
  return { hash: hashKey(value), setCookie: `${key.name}=${value}${path}${age}; HttpOnly` };
}
