import type { Delivery, NewMessage } from "../../../src/engine/store/store.ts";

interface Message {
  offset: number;
  orderKey: string | undefined;
  notBeforeMs: number;
  expiresAtMs: number;
}

interface Progress {
  isDone: boolean;
  attempt: number;
  /** Not to be delivered before: lease, delay. */
  heldUntilMs: number;
  claim: number;
}

/** What a topic's groups should do, written the plain way: every message looked at for every question. */
export class LogModel {
  readonly #messages: Message[] = [];
  readonly #groups = new Map<string, Map<number, Progress>>();
  readonly #starts = new Map<string, number>();

  append(offset: number, message: NewMessage): void {
    const { orderKey, notBeforeMs = 0, expiresAtMs = Number.POSITIVE_INFINITY } = message;
    this.#messages.push({ offset, orderKey, notBeforeMs, expiresAtMs });
  }

  addGroup(group: string, from: "earliest" | "latest"): void {
    if (this.#groups.has(group)) return;
    this.#groups.set(group, new Map());
    this.#starts.set(group, from === "earliest" ? 0 : (this.#messages.at(-1)?.offset ?? 0));
  }

  get groups(): string[] {
    return [...this.#groups.keys()];
  }

  /** Offsets that may be delivered now, oldest first. */
  claimable(group: string, nowMs: number): number[] {
    const busyKeys = new Set<string>();
    const offsets: number[] = [];
    for (const message of this.#of(group)) {
      const progress = this.#progress(group, message.offset);
      if (progress.isDone) continue;
      const { orderKey } = message;
      const isBlocked = orderKey !== undefined && busyKeys.has(orderKey);
      if (orderKey !== undefined) busyKeys.add(orderKey);
      const isReady = message.notBeforeMs <= nowMs || message.expiresAtMs <= nowMs;
      if (!isBlocked && isReady && progress.heldUntilMs <= nowMs) offsets.push(message.offset);
    }
    return offsets;
  }

  claimed(group: string, delivery: Delivery, untilMs: number): void {
    const progress = this.#progress(group, delivery.offset);
    progress.attempt += 1;
    progress.heldUntilMs = untilMs;
    progress.claim = delivery.claim;
  }

  attempt(group: string, offset: number): number {
    return this.#progress(group, offset).attempt;
  }

  isExpired(offset: number, nowMs: number): boolean {
    return this.#messages.some((message) => message.offset === offset && message.expiresAtMs <= nowMs);
  }

  owns(group: string, delivery: Delivery): boolean {
    const progress = this.#progress(group, delivery.offset);
    return !progress.isDone && progress.claim === delivery.claim;
  }

  ack(group: string, offset: number): void {
    this.#progress(group, offset).isDone = true;
  }

  giveBack(group: string, offset: number, untilMs: number, untried: boolean): void {
    const progress = this.#progress(group, offset);
    if (untried) progress.attempt -= 1;
    progress.heldUntilMs = untilMs;
    progress.claim = 0;
  }

  extend(group: string, offset: number, untilMs: number): void {
    this.#progress(group, offset).heldUntilMs = untilMs;
  }

  unhandled(group: string): number {
    return this.#of(group).filter((message) => !this.#progress(group, message.offset).isDone).length;
  }

  #of(group: string): Message[] {
    return this.#messages.filter((message) => message.offset > (this.#starts.get(group) ?? 0));
  }

  #progress(group: string, offset: number): Progress {
    const all = this.#groups.get(group) ?? new Map<number, Progress>();
    const progress = all.get(offset) ?? { isDone: false, attempt: 0, heldUntilMs: 0, claim: 0 };
    all.set(offset, progress);
    return progress;
  }
}
