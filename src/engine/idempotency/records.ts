import { type Clock, type ClockTimer, sleep } from "../../edges/clock.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { isDead, processMark } from "../store/sqlite/process-mark.ts";
import { type Mutation, type Store, StoreConflict } from "../store/store.ts";
import {
  type DoneRecord,
  decodeKeyRecord,
  encodeKeyRecord,
  type KeyRecord,
  type RunningRecord,
} from "./record.ts";

export interface RecordsOptions {
  store: Store;
  clock: Clock;
  log: Log;
  /** The name of this runtime's lease: as long as it holds, what it has in hand is not taken over. */
  lease: string;
  leaseMs?: number;
}

export interface ClaimRequest {
  space: string;
  key: string;
  /** Of what came with the key; another one under the same key is another wish. Empty: not compared. */
  print: string;
  windowMs: number;
  /** 0: does not wait for whoever has the key in hand. */
  waitMs: number;
  /** Stays with the key until it is done or forgotten, whoever takes it over. */
  note?: string;
}

/** The right to handle what came with a key; ended by `finish` or `forget`. */
export interface Ticket {
  space: string;
  key: string;
  etag: string;
  print: string;
  windowMs: number;
  /** That of whoever had the key first. */
  note?: string | undefined;
  /** Somebody who died had it before, and may have done the work. */
  isTakenOver: boolean;
}

export type Claimed =
  | { kind: "mine"; ticket: Ticket }
  | { kind: "done"; record: DoneRecord; body: Uint8Array }
  | { kind: "other" }
  | { kind: "busy" };

/** An effect of the handler could not be applied; nothing of the commit was. */
export class EffectConflict extends Error {
  /** Among the effects' mutations. */
  readonly index: number;
  constructor(index: number, cause: StoreConflict) {
    super(cause.message, { cause });
    this.name = "EffectConflict";
    this.index = index;
  }
}

/** The longest a handler may take: its record outlives it by a little. */
export const handlerTimeoutMs = 600_000;
const runningMs = handlerTimeoutMs + 60_000;
const pollMs = 200;
const letGoEveryMs = 1_000;
const leaseDefaultMs = 15_000;
const attemptsMax = 1000;

/** The records of keys in the store: who handles what now, and what came of it. */
export class Records {
  readonly #options: RecordsOptions;
  readonly #leaseMs: number;
  /** Keys this process has in hand. */
  readonly #active = new Set<string>();
  readonly #closing = new AbortController();
  #holding: Promise<void> | undefined;
  #token: number | undefined;
  #renewal: ClockTimer | undefined;

  constructor(options: RecordsOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? leaseDefaultMs;
  }

  /** Asks for the key; waits while somebody who lives has it. */
  async claim(request: ClaimRequest): Promise<Claimed> {
    const { store, clock } = this.#options;
    await this.#holdLease();
    const untilMs = clock.monotonicMs() + request.waitMs;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const found = await store.get(request.space, request.key);
      const known = found && decodeKeyRecord(found.value);
      if (known?.record.state === "done") return ended(request, known.record, known.body);
      const running = known?.record as RunningRecord | undefined;
      if (running === undefined || (await this.#isOrphan(request, running))) {
        // What was begun with a note goes on as it was begun.
        if (running?.note !== undefined && !isSame(request, running)) return { kind: "other" };
        const isTakenOver = running !== undefined;
        const note = running === undefined ? request.note : running.note;
        const etag = await this.#take({ ...request, ...(note !== undefined && { note }) }, found?.etag);
        if (etag !== undefined) return { kind: "mine", ticket: { ...request, note, isTakenOver, etag } };
        if (!this.#isActive(request)) continue;
      }
      const leftMs = untilMs - clock.monotonicMs();
      if (leftMs <= 0) return { kind: "busy" };
      await this.#change(request.space, Math.min(pollMs, leftMs));
    }
    return { kind: "busy" };
  }

  /** Writes what came of it and the effects in one commit. Answers false when the key was taken over meanwhile. */
  async finish(
    ticket: Ticket,
    record: Omit<DoneRecord, "state" | "print">,
    options: { body?: Uint8Array; effects?: readonly Mutation[] } = {},
  ): Promise<boolean> {
    const { space, key, etag, print, windowMs } = ticket;
    const { store, clock } = this.#options;
    const value = encodeKeyRecord({ state: "done", print, ...record }, options.body);
    const expiresAtMs = clock.now() + windowMs;
    try {
      await store.commit([{ kind: "put", space, key, value, etag, expiresAtMs }, ...(options.effects ?? [])]);
      return true;
    } catch (error) {
      if (!(error instanceof StoreConflict)) throw error;
      if (error.index === 0) return false;
      throw new EffectConflict(error.index - 1, error);
    } finally {
      this.#active.delete(activeName(ticket));
    }
  }

  /** The next one with this key is handled again. */
  async forget(ticket: Ticket): Promise<void> {
    const { space, key, etag } = ticket;
    try {
      await this.#options.store.commit([{ kind: "delete", space, key, etag, mustExist: true }]);
    } catch (error) {
      // Taken over: it is no longer ours to forget. Else it is free because we do not have it in hand.
      if (error instanceof StoreConflict) return;
      this.#options.log.warn({ error }, "a key could not be given back, it is tried again");
      void this.#letGo(ticket, true);
    } finally {
      this.#active.delete(activeName(ticket));
    }
  }

  /** It is not known what came of it: the next one with this key takes it over. */
  abandon(ticket: Ticket): void {
    this.#active.delete(activeName(ticket));
    void this.#letGo(ticket, false);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#renewal?.cancel();
    await this.#holding?.catch(() => undefined);
    const { store, lease } = this.#options;
    if (this.#token !== undefined) await store.releaseLease(lease, this.#token).catch(() => false);
  }

  #isActive(ticket: { space: string; key: string }): boolean {
    return this.#active.has(activeName(ticket));
  }

  /** Puts the running record; `undefined` when somebody else was faster. */
  async #take(request: ClaimRequest, etag: string | undefined): Promise<string | undefined> {
    if (this.#isActive(request)) return undefined;
    const { store, clock, lease } = this.#options;
    const { space, key, print, note, windowMs } = request;
    this.#active.add(activeName(request));
    const value = encodeKeyRecord({ state: "running", print, mark: ownMark(), lease, note });
    // One with a note is kept for whoever takes it over.
    const expiresAtMs = clock.now() + (note === undefined ? runningMs : Math.max(runningMs, windowMs));
    try {
      const wanted = etag === undefined ? { ifAbsent: true } : { etag };
      const [outcome] = await store.commit([{ kind: "put", space, key, value, expiresAtMs, ...wanted }]);
      return outcome?.etag ?? "";
    } catch (error) {
      this.#active.delete(activeName(request));
      if (error instanceof StoreConflict) return undefined;
      // It may be written all the same.
      void this.#letGo(request, false);
      throw error;
    }
  }

  /**
   * Frees for other runtimes what this one has no longer in hand: by our lease, which goes on, they would wait for it.
   * Tried until the store has taken it. With a note it stays for whoever takes it over, unless it is forgotten.
   */
  async #letGo({ space, key }: { space: string; key: string }, isForgotten: boolean): Promise<void> {
    const { store, clock, lease } = this.#options;
    while (!this.#closing.signal.aborted) {
      try {
        const found = await store.get(space, key);
        const record = found && decodeKeyRecord(found.value).record;
        if (record?.state !== "running" || record.lease !== lease || this.#isActive({ space, key })) return;
        const mutation: Mutation =
          record.note === undefined || isForgotten
            ? { kind: "delete", space, key, etag: found?.etag, mustExist: true }
            : {
                kind: "put",
                space,
                key,
                ...found,
                value: encodeKeyRecord({ ...record, mark: "", lease: "" }),
              };
        await store.commit([mutation]);
        return;
      } catch (error) {
        if (error instanceof StoreConflict) return;
      }
      await sleep(clock, letGoEveryMs, this.#closing.signal);
    }
  }

  /** Whether nobody who lives has it in hand. */
  async #isOrphan(request: ClaimRequest, { mark, lease }: RunningRecord): Promise<boolean> {
    if (lease === this.#options.lease) return !this.#isActive(request);
    if (isDead(mark)) return true;
    const held = await this.#options.store.getLease(lease);
    return held === undefined || held.expiresAtMs <= this.#options.clock.now();
  }

  async #change(space: string, waitMs: number): Promise<void> {
    const { store, clock } = this.#options;
    const changed = new AbortController();
    const unwatch = store.watch(`keys:${space}`, () => changed.abort());
    await sleep(clock, waitMs, changed.signal);
    unwatch();
  }

  /** Held from the first key until the end. */
  #holdLease(): Promise<void> {
    this.#holding ??= this.#acquire().catch((error) => {
      this.#holding = undefined;
      throw error;
    });
    return this.#holding;
  }

  async #acquire(): Promise<void> {
    const { store, lease } = this.#options;
    const result = await store.acquireLease(lease, lease, this.#leaseMs);
    if (result.held) this.#token = result.token;
    this.#renewLater();
  }

  #renewLater(): void {
    const { clock, log } = this.#options;
    if (this.#closing.signal.aborted) return;
    const renew = (): void => {
      if (this.#closing.signal.aborted) return;
      // Acquiring one's own lease prolongs it, and takes it again when it had run out.
      this.#acquire().catch((error) => {
        log.warn({ error }, "the lease of keys in hand could not be renewed");
        this.#renewLater();
      });
    };
    this.#renewal = clock.setTimer(this.#leaseMs / 3, renew, { background: true });
  }
}

function ended(request: ClaimRequest, record: DoneRecord, body: Uint8Array): Claimed {
  return isSame(request, record) ? { kind: "done", record, body } : { kind: "other" };
}

function isSame({ print }: ClaimRequest, record: KeyRecord): boolean {
  return print === "" || record.print === "" || record.print === print;
}

function activeName({ space, key }: { space: string; key: string }): string {
  return `${space}\n${key}`;
}

let mark: string | undefined;

function ownMark(): string {
  mark ??= processMark();
  return mark;
}
