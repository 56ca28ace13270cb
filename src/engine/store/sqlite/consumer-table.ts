import type { Statement } from "bun:sqlite";
import type { Delivery, DeliveryToken, Outcome } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Claimed, Packed, WriteOperation } from "./batch-codec.ts";
import { ClaimTable, type Due, type Message, type WaitingRoom } from "./claim-table.ts";
import type { Connection } from "./connection.ts";
import type { TopicTable } from "./topic-table.ts";

type Claim = Extract<WriteOperation, { op: "claim" }>;

interface Consumer {
  id: number;
  topic: number;
}

interface Position {
  cursor: number;
  passed: number;
}

/** One claim that is being put together. */
interface Gathering {
  request: Claim;
  consumer: Consumer;
  claim: number;
  deliveries: Packed<Delivery>[];
  bytes: number;
  /** Order keys whose messages all came along so far; those that follow may come too. */
  keys: Set<string> | undefined;
}

/** Consumer groups: who has seen what of a topic. */
export class ConsumerTable {
  readonly #topics: TopicTable;
  readonly #claims: ClaimTable;
  readonly #find: Statement<Consumer>;
  readonly #create: Statement;
  readonly #delete: Statement<{ id: number }>;
  readonly #position: Statement<Position>;
  readonly #move: Statement;
  readonly #topicOf: Statement<{ name: string }>;
  readonly #ids = new Map<string, Consumer>();

  constructor(db: Connection, topics: TopicTable) {
    this.#topics = topics;
    this.#claims = new ClaimTable(db);
    this.#find = db.prepare(
      `SELECT consumers.id, consumers.topic FROM consumers JOIN topics ON topics.id = consumers.topic
       WHERE topics.name = ? AND consumers.name = ?`,
    );
    // "earliest" (?3 = 0) starts before the oldest message kept, "latest" after the newest.
    this.#create = db.prepare(
      `INSERT OR IGNORE INTO consumers (topic, name, cursor, passed)
       SELECT id, ?2, ?3, CASE ?3 WHEN 0 THEN appended - messages ELSE appended END FROM topics WHERE id = ?1`,
    );
    this.#delete = db.prepare("DELETE FROM consumers WHERE id = ? RETURNING id");
    this.#position = db.prepare("SELECT cursor, passed FROM consumers WHERE id = ?");
    this.#move = db.prepare("UPDATE consumers SET cursor = ?, passed = ? WHERE id = ?");
    this.#topicOf = db.prepare(
      "SELECT topics.name FROM consumers JOIN topics ON topics.id = consumers.topic WHERE consumers.id = ?",
    );
  }

  ensure(topic: string, group: string, from: "earliest" | "latest", batch: Batch): void {
    const id = this.#topics.idOf(topic);
    // Appends of this batch are not counted yet; the counters must hold all that lies before the cursor.
    this.#topics.writeCounters(batch);
    batch.appended.length = 0;
    this.#create.run(id, group, from === "earliest" ? 0 : batch.nextRevision());
    batch.touch(`topic:${topic}`);
  }

  delete(topic: string, group: string): void {
    const consumer = this.#consumerOf(topic, group);
    if (!consumer) return;
    this.#delete.get(consumer.id);
    this.#claims.deleteAll(consumer.id);
    this.forget();
  }

  /** Lets go of the messages that a dead process had claimed; how many. */
  releaseOwner(owner: string, batch: Batch): number {
    const consumers = this.#claims.releaseOwner(owner, batch.nowMs);
    for (const consumer of new Set(consumers)) {
      const topic = this.#topicOf.get(consumer);
      if (topic) batch.touch(`topic:${topic.name}`);
    }
    return consumers.length;
  }

  claim(request: Claim, batch: Batch): Packed<Claimed> {
    const consumer = this.#consumerOf(request.topic, request.group);
    const position = consumer && this.#position.get(consumer.id);
    if (!position) {
      this.forget();
      return refuse("absent", `consumer group ${request.group} of topic ${request.topic} does not exist`);
    }
    const keys = request.together ? new Set<string>() : undefined;
    const gathering = { request, consumer, claim: batch.nextRevision(), deliveries: [], bytes: 0, keys };
    const dueLeft = this.#takeDue(gathering, batch);
    const newLeft = this.#takeNew(gathering, position, batch);
    return { deliveries: gathering.deliveries, exhausted: !dueLeft && !newLeft };
  }

  ack(delivery: DeliveryToken, batch: Batch): Outcome {
    const consumer = this.#consumerOf(delivery.topic, delivery.group);
    const done = consumer && this.#claims.finish(consumer.id, delivery);
    if (!done)
      refuse("claim", `message ${delivery.offset} of ${delivery.topic} is no longer claimed by this owner`);
    batch.acked.set(consumer.topic, (batch.acked.get(consumer.topic) ?? 0) + 1);
    if (done.freesNext) batch.touch(`topic:${delivery.topic}`);
    return {};
  }

  nack({ delivery, delayMs, untried }: Extract<WriteOperation, { op: "nack" }>, batch: Batch): boolean {
    const consumer = this.#consumerOf(delivery.topic, delivery.group);
    if (!consumer || !this.#claims.giveBack(consumer.id, delivery, batch.nowMs + delayMs, untried))
      return false;
    batch.touch(`topic:${delivery.topic}`);
    return true;
  }

  extend(deliveries: readonly DeliveryToken[], leaseMs: number, batch: Batch): DeliveryToken[] {
    return deliveries.filter((delivery) => {
      const consumer = this.#consumerOf(delivery.topic, delivery.group);
      return consumer && this.#claims.extend(consumer.id, delivery, batch.nowMs + leaseMs);
    });
  }

  forget(): void {
    this.#ids.clear();
  }

  /** Messages behind the cursor whose time has come: lease over, delay over, or their order key is free. */
  #takeDue(gathering: Gathering, batch: Batch): boolean {
    const { consumer, request } = gathering;
    const rows = this.#claims.due(consumer.id, batch.nowMs, request.max);
    for (const row of rows) {
      if (isFull(gathering)) return true;
      const message = this.#claims.message(consumer.topic, row.offset);
      if (!message) this.#claims.drop(consumer.id, row.offset);
      else if (
        comesAlong(gathering, message, batch.nowMs) ||
        !this.#claims.parkDue(consumer.id, message, batch.nowMs)
      ) {
        this.#reclaim(gathering, row, message, batch);
        this.#takeFollowers(gathering, message, batch);
      }
    }
    return rows.length === request.max;
  }

  #reclaim(gathering: Gathering, row: Due, message: Message, batch: Batch): void {
    const { consumer, request, claim } = gathering;
    this.#claims.reclaim(consumer.id, row, claim, request.owner, batch.nowMs + request.leaseMs);
    deliver(gathering, message, row.attempt + 1, batch);
  }

  /** Parked messages behind one with their order key. */
  #takeFollowers(gathering: Gathering, { order_key, offset }: Message, batch: Batch): void {
    const { consumer, request, keys } = gathering;
    if (keys === undefined || order_key === null) return;
    const left = request.max - gathering.deliveries.length;
    if (left <= 0) return;
    const rows = this.#claims.followers(consumer.id, order_key, offset, left);
    for (const row of rows) {
      const message = row.isParked ? this.#claims.message(consumer.topic, row.offset) : null;
      if (isFull(gathering) || !message || isDelayed(message, batch.nowMs)) return;
      this.#reclaim(gathering, row, message, batch);
    }
    // What lies beyond the cursor follows too, when everything before it came along.
    if (rows.length < left) keys.add(order_key);
  }

  /** Messages beyond the cursor. Those that must wait are parked in claims, so that the cursor can move on. */
  #takeNew(gathering: Gathering, position: Position, batch: Batch): boolean {
    const { consumer, request } = gathering;
    let { cursor, passed } = position;
    let scanned = 0;
    let more = true;
    const room: WaitingRoom = {};
    while (more && !isFull(gathering) && scanned < scanMax) {
      const wanted = Math.min(request.max - gathering.deliveries.length, scanMax - scanned);
      const messages = this.#claims.messagesAfter(consumer.topic, cursor, wanted);
      more = messages.length === wanted;
      for (const message of messages) {
        if (isFull(gathering)) break;
        const parked = comesAlong(gathering, message, batch.nowMs)
          ? "ready"
          : this.#claims.parkNew(consumer.id, message, batch.nowMs, room);
        const { order_key } = message;
        if (order_key !== null && parked === "ready") gathering.keys?.add(order_key);
        if (order_key !== null && parked === "parked") gathering.keys?.delete(order_key);
        if (parked === "refused") {
          more = false;
          break;
        }
        if (parked === "ready") {
          const leaseEndMs = batch.nowMs + request.leaseMs;
          this.#claims.claim(consumer.id, message, gathering.claim, request.owner, leaseEndMs);
          deliver(gathering, message, 1, batch);
        }
        cursor = message.offset;
        passed += 1;
        scanned += 1;
      }
    }
    if (cursor !== position.cursor) this.#move.run(cursor, passed, consumer.id);
    return more;
  }

  #consumerOf(topic: string, group: string): Consumer | undefined {
    const name = `${topic}\0${group}`;
    const known = this.#ids.get(name);
    if (known) return known;
    const consumer = this.#find.get(topic, group);
    if (!consumer) return undefined;
    if (this.#ids.size >= idsCached) this.#ids.clear();
    this.#ids.set(name, consumer);
    return consumer;
  }
}

/** Whether everything before the message with its order key is part of the same claim. */
function comesAlong({ keys }: Gathering, message: Message, nowMs: number): boolean {
  const { order_key } = message;
  return order_key !== null && keys?.has(order_key) === true && !isDelayed(message, nowMs);
}

function isDelayed({ not_before }: Message, nowMs: number): boolean {
  return not_before !== null && not_before > nowMs;
}

/** Parked messages looked at by one claim. */
const scanMax = 1000;
/** Bytes one claim returns before it stops; one larger message still passes. */
const claimBytesMax = 8 * 1024 * 1024;
const idsCached = 10_000;

function isFull({ deliveries, bytes, request }: Gathering): boolean {
  return deliveries.length >= request.max || bytes >= claimBytesMax;
}

function deliver(gathering: Gathering, message: Message, attempt: number, batch: Batch): void {
  const { request, claim } = gathering;
  const isExpired = message.expires_at !== null && message.expires_at <= batch.nowMs;
  gathering.bytes += message.data.byteLength;
  gathering.deliveries.push({
    topic: request.topic,
    group: request.group,
    offset: message.offset,
    claim,
    data: batch.reply.add(message.data),
    headers: message.headers ? (JSON.parse(message.headers) as Record<string, string>) : {},
    attempt,
    publishedAtMs: message.published_at,
    ...(isExpired ? { expired: true } : {}),
  });
}
