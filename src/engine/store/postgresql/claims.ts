import { markedOwner } from "../sqlite/process-mark.ts";
import {
  type ClaimRequest,
  type ClaimTimersRequest,
  type Delivery,
  StoreConflict,
  type Timer,
} from "../store.ts";
import type { Claimed } from "./claim-wait.ts";
import { codeOf } from "./faults.ts";
import type { Link } from "./link.ts";
import { buckets } from "./locks.ts";
import { groupLock, topicLock } from "./operations.ts";
import { fromText, toText } from "./text.ts";

interface ClaimedRow {
  seq: number | null;
  claim: number;
  attempt: number;
  published_at: number | null;
  headers: string | null;
  data: Uint8Array;
  is_expired: boolean;
}

/** Claims of messages and timers: transactions of their own, so that commits do not wait for them. */
export class Claims {
  readonly #link: Link;
  readonly #lockClass: number;
  readonly #nowMs: () => number | undefined;

  constructor(link: Link, lockClass: number, nowMs: () => number | undefined) {
    this.#link = link;
    this.#lockClass = lockClass;
    this.#nowMs = nowMs;
  }

  async messages(request: ClaimRequest): Promise<Claimed> {
    const { topic, group, owner, max, leaseMs, together = false } = request;
    const names = [toText(topic), toText(group)] as const;
    const rows = await this.#link
      .write<ClaimedRow>(
        "SELECT * FROM claim_messages($1, $2::text::integer[], $3, $4, $5, $6, $7, $8, $9)",
        [
          this.#lockClass,
          literal(buckets([groupLock(...names)])),
          ...names,
          toText(markedOwner(owner)),
          max,
          Math.ceil(leaseMs),
          together,
          this.#nowMs() ?? null,
        ],
      )
      .catch((error: unknown) => {
        if (codeOf(error) !== "MGONE") throw error;
        throw new StoreConflict(0, "absent", `consumer group ${group} of topic ${topic} does not exist`);
      });
    const end = rows.pop();
    return {
      deliveries: rows.map((row) => toDelivery(request, row)),
      hasMore: end?.attempt === 1,
      nextInMs: end?.published_at ?? undefined,
    };
  }

  /** Skips what others are claiming at this moment: many processes take from one space without waiting. */
  async timers({ space, owner, nowMs, max, leaseMs }: ClaimTimersRequest): Promise<Timer[]> {
    const rows = await this.#link.write<{ id: string; claim: number; due_at: number; data: Uint8Array }>(
      `WITH due AS (SELECT id FROM timers WHERE space = $1 AND visible_at <= $2
           ORDER BY visible_at LIMIT $3 FOR UPDATE SKIP LOCKED)
       UPDATE timers SET claim = nextval('revision'), owner = $4, visible_at = greatest($2, moment($6)) + $5
       FROM due WHERE space = $1 AND timers.id = due.id RETURNING timers.id, claim, due_at, data`,
      [
        toText(space),
        Math.floor(nowMs),
        max,
        toText(markedOwner(owner)),
        Math.ceil(leaseMs),
        this.#nowMs() === undefined ? null : Math.floor(nowMs),
      ],
    );
    return rows
      .map((row) => ({ space, id: fromText(row.id), claim: row.claim, dueAtMs: row.due_at, data: row.data }))
      .sort((one, other) => one.dueAtMs - other.dueAtMs);
  }

  /** Lets go of what these owners, by their names in the store, have claimed; the topics and timer spaces concerned. */
  async release(owners: readonly string[]): Promise<string[]> {
    const rows = await this.#link.write<{ channel: string }>(
      "SELECT release_owners($1, ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)), $3) AS channel",
      [this.#lockClass, JSON.stringify(owners), this.#nowMs() ?? null],
    );
    return rows.map(({ channel }) => fromText(channel));
  }

  async ensureGroup(topic: string, group: string, from: "earliest" | "latest"): Promise<void> {
    const names = [toText(topic), toText(group)] as const;
    const locks = buckets([topicLock(names[0]), groupLock(...names)]);
    await this.#link.write("SELECT ensure_group($1, $2::text::integer[], $3, $4, $5)", [
      this.#lockClass,
      literal(locks),
      ...names,
      from === "earliest",
    ]);
  }

  async hasGroup(topic: string, group: string): Promise<boolean> {
    const rows = await this.#link.read(
      `SELECT 1 AS found FROM consumers JOIN topics ON topics.id = consumers.topic
       WHERE topics.name = $1 AND consumers.name = $2`,
      [toText(topic), toText(group)],
    );
    return rows.length > 0;
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    const names = [toText(topic), toText(group)] as const;
    await this.#link.write("SELECT delete_group($1, $2::text::integer[], $3, $4)", [
      this.#lockClass,
      literal(buckets([groupLock(...names)])),
      ...names,
    ]);
  }
}

function literal(numbers: readonly number[]): string {
  return `{${numbers.join(",")}}`;
}

function toDelivery({ topic, group }: ClaimRequest, row: ClaimedRow): Delivery {
  return {
    topic,
    group,
    offset: row.seq ?? 0,
    claim: row.claim,
    data: row.data,
    headers: row.headers ? (JSON.parse(row.headers) as Record<string, string>) : {},
    attempt: row.attempt,
    publishedAtMs: row.published_at ?? 0,
    ...(row.is_expired ? { expired: true } : {}),
  };
}
