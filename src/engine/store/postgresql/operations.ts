import { createHash } from "node:crypto";
import { prefixEnd } from "../sqlite/prefix.ts";
import type { DeliveryToken, Mutation, NewMessage, TimerToken } from "../store.ts";
import { buckets } from "./locks.ts";
import { toText } from "./text.ts";

/** What one batch carries. Claims go their own way: they answer with rows. */
export type WriteOperation =
  | { op: "commit"; mutations: readonly Mutation[] }
  | { op: "nack"; delivery: DeliveryToken; delayMs: number; untried: boolean }
  | { op: "extend"; deliveries: readonly DeliveryToken[]; leaseMs: number }
  | { op: "acquireLease"; name: string; owner: string; ttlMs: number }
  | { op: "renewLease"; name: string; token: number; ttlMs: number }
  | { op: "releaseLease"; name: string; token: number };

/** The arguments of the function `write_batch`. */
export interface PackedBatch {
  /** Nobody else may write meanwhile. */
  alone: boolean;
  locks: number[];
  /** Topics that get messages. */
  appended: string[];
  operations: object[];
  bytes: Uint8Array;
}

export function packBatch(operations: readonly WriteOperation[]): PackedBatch {
  const packing = new Packing();
  return packing.finish(operations.map((operation) => packing.operation(operation)));
}

/** The bytes an operation brings, to bound what waits. */
export function operationBytes(operation: WriteOperation): number {
  if (operation.op !== "commit") return 0;
  return operation.mutations.reduce((sum, mutation) => sum + mutationBytes(mutation), 0);
}

function mutationBytes(mutation: Mutation): number {
  switch (mutation.kind) {
    case "put":
      return mutation.value.byteLength;
    case "append":
    case "deadLetter":
      return mutation.message.data.byteLength;
    case "timerSet":
      return mutation.data.byteLength;
    case "history":
      return mutation.events.reduce((sum, event) => sum + event.byteLength, 0);
    default:
      return 0;
  }
}

class Packing {
  readonly #parts: Uint8Array[] = [];
  #length = 0;
  readonly #locked = new Set<string>();
  readonly #appended = new Set<string>();
  #alone = false;

  finish(operations: object[]): PackedBatch {
    return {
      alone: this.#alone,
      locks: buckets(this.#locked),
      appended: [...this.#appended],
      operations,
      bytes: Buffer.concat(this.#parts),
    };
  }

  operation(operation: WriteOperation): object {
    switch (operation.op) {
      case "commit": {
        // A refusal comes before the mutation writes: only one after the first leaves something to undo.
        const savepoint = operation.mutations.slice(1).some(mayConflict);
        return { op: "commit", savepoint, mutations: operation.mutations.map((one) => this.#mutation(one)) };
      }
      case "nack":
        return { ...operation, delivery: this.#delivery(operation.delivery) };
      case "extend":
        return { ...operation, deliveries: operation.deliveries.map((one) => this.#delivery(one)) };
      case "acquireLease":
        return { ...operation, name: this.#lease(operation.name), owner: toText(operation.owner) };
      default:
        return { ...operation, name: this.#lease(operation.name) };
    }
  }

  #mutation(mutation: Mutation): object {
    switch (mutation.kind) {
      case "put": {
        const contentType = toText(mutation.contentType ?? "");
        return { ...mutation, ...this.#key(mutation), contentType, value: this.#add(mutation.value) };
      }
      case "delete":
        return { ...mutation, ...this.#key(mutation) };
      case "deletePrefix": {
        this.#alone = true;
        const prefix = toText(mutation.prefix);
        return { kind: mutation.kind, space: toText(mutation.space), prefix, end: prefixEnd(prefix) };
      }
      case "append":
        return { kind: "append", ...this.#append(mutation.topic, mutation.message) };
      case "ack":
        return { kind: "ack", delivery: this.#delivery(mutation.delivery) };
      case "deadLetter": {
        const delivery = this.#delivery(mutation.delivery);
        return { kind: "deadLetter", delivery, ...this.#append(mutation.topic, mutation.message) };
      }
      default:
        return this.#timed(mutation);
    }
  }

  #timed(mutation: Extract<Mutation, { kind: `timer${string}` | `history${string}` | "guard" }>): object {
    switch (mutation.kind) {
      case "timerSet":
        return { ...mutation, ...this.#timer(mutation), data: this.#add(mutation.data) };
      case "timerDelete":
        return { ...mutation, ...this.#timer(mutation) };
      case "timerDone": {
        const timer = { ...this.#timer(mutation.timer), claim: mutation.timer.claim };
        return { ...mutation, timer, data: mutation.data && this.#add(mutation.data) };
      }
      case "history": {
        const events = mutation.events.map((event) => this.#add(event));
        return { ...mutation, instance: this.#instance(mutation.instance), events };
      }
      case "historyDelete":
        return { ...mutation, instance: this.#instance(mutation.instance) };
      case "guard":
        return { ...mutation, lease: this.#lease(mutation.lease) };
    }
  }

  #add(part: Uint8Array): [start: number, length: number] {
    const start = this.#length;
    this.#parts.push(part);
    this.#length += part.byteLength;
    return [start, part.byteLength];
  }

  #append(topic: string, { data, headers, orderKey, notBeforeMs, expiresAtMs }: NewMessage): object {
    const name = toText(topic);
    this.#locked.add(topicLock(name));
    this.#appended.add(name);
    const message = {
      data: this.#add(data),
      headers: headers && JSON.stringify(headers),
      orderKey: orderKey === undefined ? undefined : shortOrderKey(toText(orderKey)),
      notBeforeMs,
      expiresAtMs,
    };
    return { topic: name, message };
  }

  #delivery(token: DeliveryToken): DeliveryToken {
    const { offset, claim } = token;
    const topic = toText(token.topic);
    const group = toText(token.group);
    this.#locked.add(groupLock(topic, group));
    return { topic, group, offset, claim };
  }

  #key({ space, key }: { space: string; key: string }): { space: string; key: string } {
    const names = { space: toText(space), key: toText(key) };
    this.#locked.add(`key ${names.space} ${names.key}`);
    return names;
  }

  #timer({ space, id }: Pick<TimerToken, "space" | "id">): { space: string; id: string } {
    const names = { space: toText(space), id: toText(id) };
    this.#locked.add(`timer ${names.space} ${names.id}`);
    return names;
  }

  #instance(name: string): string {
    const instance = toText(name);
    this.#locked.add(`history ${instance}`);
    return instance;
  }

  #lease(name: string): string {
    const lease = toText(name);
    this.#locked.add(`lease ${lease}`);
    return lease;
  }
}

/** It stands in an index, whose entries are bounded: a claim must not fail for what a publisher chose. */
function shortOrderKey(orderKey: string): string {
  if (orderKey.length <= orderKeyLengthMax) return orderKey;
  return `sha256 ${createHash("sha256").update(orderKey).digest("base64url")}`;
}

const orderKeyLengthMax = 500;

/** Held by who appends: the order of offsets is the order of commits, so that no cursor passes an unseen message. */
export function topicLock(topic: string): string {
  return `topic ${topic}`;
}

/** Held by who claims, acknowledges or gives back. */
export function groupLock(topic: string, group: string): string {
  return `group ${topic} ${group}`;
}

function mayConflict(mutation: Mutation): boolean {
  switch (mutation.kind) {
    case "put":
      return Boolean(mutation.etag || mutation.ifAbsent);
    case "delete":
      return Boolean(mutation.etag || mutation.mustExist);
    case "timerSet":
      return Boolean(mutation.ifAbsent);
    case "append":
    case "deletePrefix":
    case "timerDelete":
    case "historyDelete":
      return false;
    default:
      return true;
  }
}
