import { type Clock, type ClockTimer, realClock } from "../../../edges/clock.ts";
import type { FeedListener } from "../store.ts";
import type { Link } from "./link.ts";

export interface FeedsOptions {
  /** Makes the connection that listens. */
  connect(events: { onNotice(payload: string): void; onClosed(): void }): Link;
  /** Sends to the others. */
  link: Link;
  /** The channel of LISTEN: one for each schema. */
  name: string;
  /** Tells this process's own notices from others'. */
  sender: string;
}

/** A change that no notice told of is seen after this time at the latest. */
const lookEveryMs = 800;
/** Notices are gathered this long: one goes to everybody, however many commits there were. */
const gatherMs = 3;
/** The server takes 8,000 bytes; longer lists of channels say "everything". */
const noticeBytesMax = 7_000;

/**
 * Tells who watches a channel that it changed, whichever process changed it. Notices go out after the commit, on
 * their own: NOTIFY inside a transaction would let commits of all processes happen one at a time only. One that is
 * lost, with its sender or with a connection, is made up for by a look at the server's snapshot, which moves with
 * each transaction.
 */
export class Feeds {
  readonly #options: FeedsOptions;
  readonly #clock: Clock = realClock;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  readonly #unsent = new Set<string>();
  #listening: Link | undefined;
  #isListening = false;
  #isLooking = false;
  #isClosed = false;
  #isSending = false;
  #lookTimer: ClockTimer | undefined;
  #seenSnapshot = "";

  constructor(options: FeedsOptions) {
    this.#options = options;
  }

  watch(channel: string, listener: FeedListener): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(channel) === listeners) this.#listeners.delete(channel);
    };
  }

  /** This process has committed something. */
  touched(channels: Iterable<string>): void {
    for (const channel of channels) {
      this.#notify(channel, true);
      this.#unsent.add(channel);
    }
    this.#sendSoon();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#lookTimer?.cancel();
    // Who waits looks again, and learns that the store is closed.
    this.#notifyAll();
    this.#listeners.clear();
    await this.#listening?.close();
  }

  #notify(channel: string, isOwn: boolean): void {
    for (const listener of [...(this.#listeners.get(channel) ?? [])]) call(listener, isOwn);
  }

  #notifyAll(): void {
    for (const channel of [...this.#listeners.keys()]) this.#notify(channel, false);
  }

  /** Before anybody watches: what happens between a watch and a late LISTEN would be missed. */
  async open(): Promise<void> {
    this.#listening = this.#options.connect({
      onNotice: (payload) => this.#hear(payload),
      onClosed: () => {
        this.#isListening = false;
        this.#lookAfter(firstLookMs);
      },
    });
    await this.#look();
  }

  #hear(payload: string): void {
    const { sender, channels } = JSON.parse(payload) as { sender: string; channels?: string[] };
    if (sender === this.#options.sender) return;
    if (channels) for (const channel of channels) this.#notify(channel, false);
    else this.#notifyAll();
  }

  #lookAfter(delayMs: number): void {
    if (this.#isClosed || this.#isLooking) return;
    this.#lookTimer?.cancel();
    this.#lookTimer = this.#clock.setTimer(delayMs, () => void this.#look(), { background: true });
  }

  /** Also proves that the connection that listens still lives. */
  async #look(): Promise<void> {
    const link = this.#listening;
    if (!link || this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    try {
      if (!this.#isListening) {
        this.#isListening = true;
        await link.read(`LISTEN ${this.#options.name}`);
      }
      const [row] = await link.read<{ now: string }>("SELECT pg_current_snapshot()::text AS now");
      const isMoved = row !== undefined && row.now !== this.#seenSnapshot;
      this.#seenSnapshot = row?.now ?? "";
      if (isMoved && !this.#isClosed) this.#notifyAll();
    } catch {
      this.#isListening = false;
      // Not knowing is a reason to look, too.
      if (!this.#isClosed) this.#notifyAll();
    }
    this.#isLooking = false;
    this.#lookAfter(this.#isListening ? lookEveryMs : firstLookMs);
  }

  #sendSoon(): void {
    if (this.#isSending || this.#unsent.size === 0 || this.#isClosed) return;
    this.#isSending = true;
    this.#clock.setTimer(gatherMs, () => void this.#send(), { background: true });
  }

  async #send(): Promise<void> {
    const channels = [...this.#unsent];
    this.#unsent.clear();
    const { sender, name, link } = this.#options;
    let payload = JSON.stringify({ sender, channels });
    if (Buffer.byteLength(payload) > noticeBytesMax) payload = JSON.stringify({ sender });
    // A hint: when it fails the others find out by looking.
    await link.read("SELECT pg_notify($1, $2)", [name, payload]).catch(() => undefined);
    this.#isSending = false;
    this.#sendSoon();
  }
}

const firstLookMs = 50;

/** A listener that throws is its owner's fault: it must not keep the others from hearing, nor writes from settling. */
function call(listener: FeedListener, isOwn: boolean): void {
  try {
    listener(isOwn);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
