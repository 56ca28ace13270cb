import { createHash } from "node:crypto";
import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { decodeFound, encodeFound } from "./answer-codec.ts";
import { type AnswerStore, type Found, isVariants, type Purge } from "./answer-store.ts";
import { placeOfKey } from "./cache-key.ts";

/** What a state component offers here; its keys are made and prefixed by whoever gives it. */
export interface KeyValues {
  get(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  set(key: string, value: Uint8Array, ttlSeconds: number): Promise<void>;
  delete(key: string): Promise<void>;
}

export interface SharedStoreOptions {
  /** Asked each time: components come and go. */
  keyValues(): KeyValues | undefined;
  timeoutMs: number;
  clock: Clock;
  random: Random;
  log: Log;
  /** Told of each failure. */
  failed(): void;
}

/** Writes under way; more are not made. */
const writesMax = 64;
/** A store that has failed is left alone for so long. */
const restMs = 1_000;
/** Marks of purges outlast everything that was kept before them. */
const markSeconds = 8 * 86_400;

/**
 * Answers in a state component, for all runtimes of the app that have it. A purge writes a new mark under its tag, app
 * or path; an answer counts as long as the marks are those it was kept with.
 */
export class SharedStore implements AnswerStore {
  readonly #options: SharedStoreOptions;
  #writes = 0;
  #restsUntilMs = 0;

  constructor(options: SharedStoreOptions) {
    this.#options = options;
  }

  async get(key: string): Promise<Found | undefined> {
    const values = await this.#tried((store) => store.get([keyOf(key), ...placeMarks(key)]));
    const [bytes, ...marks] = values ?? [];
    const decoded = bytes && decodeFound(bytes);
    if (!decoded) return undefined;
    const { found } = decoded;
    const tags = isVariants(found) ? [] : found.tags.map(tagMark);
    if (tags.length > 0) marks.push(...((await this.#tried((store) => store.get(tags))) ?? []));
    const isSame =
      marks.length === decoded.marks.length &&
      marks.every((mark, index) => textOf(mark) === decoded.marks[index]);
    return isSame ? found : undefined;
  }

  put(key: string, found: Found, retainMs: number): void {
    const tags = isVariants(found) ? [] : found.tags.map(tagMark);
    this.#write(async (store) => {
      const marks = (await store.get([...placeMarks(key), ...tags])).map(textOf);
      if (!isVariants(found)) {
        const bornMs = found.receivedMs - found.initialAgeMs;
        // Purged while it was on its way: it may tell of the time before.
        if (marks.some((mark) => Number(mark.split(" ")[1] ?? 0) > bornMs)) return;
      }
      await store.set(keyOf(key), encodeFound(found, marks), Math.max(1, Math.ceil(retainMs / 1000)));
    });
  }

  delete(key: string): void {
    this.#write((store) => store.delete(keyOf(key)));
  }

  async purge(purge: Purge): Promise<undefined> {
    const { keyValues, random, clock } = this.#options;
    const store = keyValues();
    if (store === undefined) throw new Error("the state store of the cache is not there");
    const mark = Buffer.from(`${random.uuid()} ${clock.now()}`);
    const key = "tag" in purge ? tagMark(purge.tag) : placeMark(purge.id, purge.path);
    await this.#inTime(store.set(key, mark, markSeconds));
  }

  size(): undefined {
    return undefined;
  }

  #write(work: (store: KeyValues) => Promise<void>): void {
    if (this.#writes >= writesMax) return;
    this.#writes++;
    void this.#tried(work).finally(() => this.#writes--);
  }

  /** `undefined` when it fails, takes too long or has just failed. */
  async #tried<T>(work: (store: KeyValues) => Promise<T>): Promise<T | undefined> {
    const { clock, keyValues, log, failed } = this.#options;
    if (clock.monotonicMs() < this.#restsUntilMs) return undefined;
    try {
      const store = keyValues();
      if (store === undefined) throw new Error("no state component of that name");
      return await this.#inTime(work(store));
    } catch (error) {
      this.#restsUntilMs = clock.monotonicMs() + restMs;
      failed();
      log.warn({ error }, "the state store of a cache failed: requests go on without");
      return undefined;
    }
  }

  #inTime<T>(work: Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no answer within ${timeoutMs} ms`));
      const timer = clock.setTimer(timeoutMs, late, { background: true });
      work.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

/** Of one length, and without characters that mean something to a store. */
function keyOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

function tagMark(tag: string): string {
  return keyOf(`tag\n${tag}`);
}

function placeMark(id: string, path: string | undefined): string {
  return keyOf(path === undefined ? `app\n${id}` : `path\n${id}\n${path}`);
}

function placeMarks(key: string): string[] {
  const { id, path } = placeOfKey(key);
  return [placeMark(id, undefined), placeMark(id, path)];
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined
    ? ""
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
