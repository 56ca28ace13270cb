import type { Statement } from "bun:sqlite";
import type { DeliveryToken } from "../store.ts";
import type { Connection } from "./connection.ts";

export interface Message {
  offset: number;
  published_at: number;
  not_before: number | null;
  expires_at: number | null;
  order_key: string | null;
  headers: string | null;
  data: Uint8Array;
}

export interface Due {
  offset: number;
  attempt: number;
}

/** A message behind another one with its order key. */
interface Follower extends Due {
  /** 1: nobody has it, it waits. */
  isParked: number;
}

/** How many more messages may wait for their order key; counted when first needed. */
export interface WaitingRoom {
  left?: number;
}

/** `visible_at` of a message that waits for an earlier one with its order key. */
export const never = Number.MAX_SAFE_INTEGER;

/** Messages behind a group's cursor that are not done: in flight, delayed, or waiting for their order key. */
export class ClaimTable {
  readonly #due: Statement<Due>;
  readonly #followers: Statement<Follower>;
  readonly #message: Statement<Message>;
  readonly #messagesAfter: Statement<Message>;
  readonly #insert: Statement;
  readonly #reclaim: Statement;
  readonly #setTime: Statement;
  readonly #drop: Statement;
  readonly #finish: Statement<{ order_key: string | null }>;
  readonly #freeNext: Statement;
  readonly #giveBack: Statement;
  readonly #extend: Statement;
  readonly #earlier: Statement<{ found: number }>;
  readonly #waiting: Statement<{ count: number }>;
  readonly #deleteAll: Statement;
  readonly #releaseOwner: Statement<{ consumer: number }>;

  constructor(db: Connection) {
    const row = "WHERE consumer = ? AND offset = ?";
    const columns = "offset, published_at, not_before, expires_at, order_key, headers, data";
    this.#due = db.prepare(
      `SELECT offset, attempt FROM claims INDEXED BY claims_by_time
       WHERE consumer = ? AND visible_at <= ? ORDER BY offset LIMIT ?`,
    );
    this.#followers = db.prepare(
      `SELECT offset, attempt, visible_at = ${never} AS isParked FROM claims
       WHERE consumer = ? AND order_key = ? AND offset > ? ORDER BY offset LIMIT ?`,
    );
    this.#message = db.prepare(`SELECT ${columns} FROM messages WHERE topic = ? AND offset = ?`);
    this.#messagesAfter = db.prepare(
      `SELECT ${columns} FROM messages WHERE topic = ? AND offset > ? ORDER BY offset LIMIT ?`,
    );
    this.#insert = db.prepare(
      `INSERT INTO claims (consumer, offset, claim, attempt, visible_at, order_key, owner)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#reclaim = db.prepare(
      "UPDATE claims SET claim = ?3, owner = ?4, visible_at = ?5, attempt = attempt + 1 WHERE consumer = ?1 AND offset = ?2",
    );
    this.#setTime = db.prepare(
      "UPDATE claims SET visible_at = ?3, claim = 0, owner = NULL WHERE consumer = ?1 AND offset = ?2",
    );
    this.#drop = db.prepare(`DELETE FROM claims ${row}`);
    this.#finish = db.prepare(`DELETE FROM claims ${row} AND claim = ? RETURNING order_key`);
    this.#freeNext = db.prepare(
      `UPDATE claims SET visible_at = 0 WHERE consumer = ?1 AND visible_at = ${never} AND offset =
         (SELECT offset FROM claims WHERE consumer = ?1 AND order_key = ?2 ORDER BY offset LIMIT 1)`,
    );
    this.#giveBack = db.prepare(
      `UPDATE claims SET claim = 0, owner = NULL, visible_at = ?4, attempt = attempt - ?5
       WHERE consumer = ?1 AND offset = ?2 AND claim = ?3`,
    );
    this.#extend = db.prepare(
      "UPDATE claims SET visible_at = ?4 WHERE consumer = ?1 AND offset = ?2 AND claim = ?3",
    );
    this.#earlier = db.prepare(
      "SELECT 1 AS found FROM claims WHERE consumer = ? AND order_key = ? AND offset < ? LIMIT 1",
    );
    this.#waiting = db.prepare(
      `SELECT count(*) AS count FROM (SELECT 1 FROM claims INDEXED BY claims_by_time
         WHERE consumer = ? AND visible_at = ${never} LIMIT ${waitingMax})`,
    );
    this.#deleteAll = db.prepare("DELETE FROM claims WHERE consumer = ?");
    this.#releaseOwner = db.prepare(
      "UPDATE claims SET claim = 0, owner = NULL, visible_at = ?2 WHERE owner = ?1 RETURNING consumer",
    );
  }

  /** Lets go of what a dead process had claimed; the consumers concerned, one for each message. */
  releaseOwner(owner: string, nowMs: number): number[] {
    return this.#releaseOwner.all(owner, nowMs).map(({ consumer }) => consumer);
  }

  due(consumer: number, nowMs: number, max: number): Due[] {
    return this.#due.all(consumer, nowMs, max);
  }

  followers(consumer: number, orderKey: string, offset: number, max: number): Follower[] {
    return this.#followers.all(consumer, orderKey, offset, max);
  }

  message(topic: number, offset: number): Message | null {
    return this.#message.get(topic, offset);
  }

  messagesAfter(topic: number, cursor: number, max: number): Message[] {
    return this.#messagesAfter.all(topic, cursor, max);
  }

  /** First claim of a message that the cursor is about to pass. */
  claim(consumer: number, message: Message, claim: number, owner: string, leaseEndMs: number): void {
    this.#insert.run(consumer, message.offset, claim, 1, leaseEndMs, message.order_key, owner);
  }

  reclaim(consumer: number, { offset }: Due, claim: number, owner: string, leaseEndMs: number): void {
    this.#reclaim.run(consumer, offset, claim, owner, leaseEndMs);
  }

  /** Lets a message behind the cursor wait on when it still must; tells whether it must. */
  parkDue(consumer: number, message: Message, nowMs: number): boolean {
    const readyAtMs = this.#readyAt(consumer, message, nowMs);
    if (readyAtMs <= nowMs) return false;
    this.#setTime.run(consumer, message.offset, readyAtMs);
    return true;
  }

  /** Parks a message beyond the cursor when it must wait; "refused": too many wait for their order key. */
  parkNew(
    consumer: number,
    message: Message,
    nowMs: number,
    room: WaitingRoom,
  ): "ready" | "parked" | "refused" {
    const readyAtMs = this.#readyAt(consumer, message, nowMs);
    if (readyAtMs <= nowMs) return "ready";
    if (readyAtMs === never) {
      room.left ??= waitingMax - (this.#waiting.get(consumer)?.count ?? 0);
      if (room.left <= 0) return "refused";
      room.left -= 1;
    }
    this.#insert.run(consumer, message.offset, 0, 0, readyAtMs, message.order_key, null);
    return "parked";
  }

  /** Ends a claim and lets the next message with its order key go. */
  finish(consumer: number, { offset, claim }: DeliveryToken): { freesNext: boolean } | undefined {
    // Claim 0 marks a message that nobody has claimed.
    const row = claim > 0 ? this.#finish.get(consumer, offset, claim) : null;
    if (!row) return undefined;
    const freed = row.order_key === null ? 0 : this.#freeNext.run(consumer, row.order_key).changes;
    return { freesNext: freed > 0 };
  }

  giveBack(consumer: number, token: DeliveryToken, visibleAtMs: number, untried: boolean): boolean {
    if (token.claim <= 0) return false;
    return this.#giveBack.run(consumer, token.offset, token.claim, visibleAtMs, untried ? 1 : 0).changes > 0;
  }

  extend(consumer: number, token: DeliveryToken, leaseEndMs: number): boolean {
    return token.claim > 0 && this.#extend.run(consumer, token.offset, token.claim, leaseEndMs).changes > 0;
  }

  drop(consumer: number, offset: number): void {
    this.#drop.run(consumer, offset);
  }

  deleteAll(consumer: number): void {
    this.#deleteAll.run(consumer);
  }

  #readyAt(consumer: number, message: Message, nowMs: number): number {
    const { order_key, offset, not_before, expires_at } = message;
    if (order_key !== null && this.#earlier.get(consumer, order_key, offset)) return never;
    if (not_before === null || not_before <= nowMs) return nowMs;
    return Math.min(not_before, expires_at ?? not_before);
  }
}

/** Messages that wait for their order key, per group: beyond, the cursor stands until some are handled. */
const waitingMax = 10_000;
