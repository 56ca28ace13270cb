import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { CacheSpec } from "../../resource/traffic.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { AnswerStore, Variants } from "./answer-store.ts";
import type { CacheControl } from "./cache-control.ts";
import { variantKey } from "./cache-key.ts";
import { Changes } from "./changes.ts";
import { conditionNames, isAbout, mergedLines, validatorLines } from "./conditional.ts";
import { withoutLines } from "./header-lines.ts";
import { type CacheReply, type CacheRequest, dispose, gather, type Send } from "./reply.ts";
import { judge } from "./storable.ts";
import { ageMs, hasValidator, type StoredAnswer } from "./stored.ts";
import { compileTags, type TagsOf } from "./tags.ts";
import { hasSameValues } from "./vary.ts";
import { standsInForError } from "./verdict.ts";

/** A request for which nothing fresh is kept. */
export interface Asked {
  request: CacheRequest;
  send: Send;
  key: string;
  asked: CacheControl;
  /** What is kept and has to be asked about. */
  stored?: StoredAnswer | undefined;
  /** What stands under the key, when its answers vary. */
  variants?: Variants | undefined;
}

/** What came of asking: an answer that is kept, or a reply for this caller alone. */
export type Fetched =
  | { kind: "kept"; answer: StoredAnswer; how: "stored" | "unchanged" | "error"; status: number | undefined }
  | { kind: "passed"; reply: CacheReply; why: string };

export interface FetcherOptions {
  spec: CacheSpec;
  store: AnswerStore;
  clock: Clock;
  random: Random;
  log: Log;
}

/** Answers that can be asked about are kept for so long after their time, and nothing for longer than this. */
const validatedMs = 3_600_000;
const retainMaxMs = 7 * 86_400_000;
const failures = new Set([500, 502, 503, 504]);

/** Asks the target, and keeps what may be kept. */
export class Fetcher {
  readonly changes = new Changes();
  readonly #options: FetcherOptions;
  readonly #tagsOf: Promise<TagsOf> | undefined;

  constructor(options: FetcherOptions) {
    const { spec, log } = options;
    this.#options = options;
    if (spec.tags === "") return;
    this.#tagsOf = compileTags(spec.tags);
    this.#tagsOf.catch((error) =>
      log.error({ error }, "the tags of a cache can not be used: nothing is kept"),
    );
  }

  async fetch(asked: Asked, signal?: AbortSignal): Promise<Fetched> {
    const { stored } = asked;
    const { clock } = this.#options;
    try {
      const fetched = await this.#ask(asked, stored, signal);
      const isFailure = fetched.kind === "passed" && failures.has(fetched.reply.status);
      if (!isFailure || !stored || !standsInForError(stored, asked.asked, clock.now())) return fetched;
      dispose(fetched.reply);
      return { kind: "kept", answer: stored, how: "error", status: fetched.reply.status };
    } catch (error) {
      if (signal?.aborted || !stored || !standsInForError(stored, asked.asked, clock.now())) throw error;
      return { kind: "kept", answer: stored, how: "error", status: undefined };
    }
  }

  async #ask(
    asked: Asked,
    stored: StoredAnswer | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Fetched> {
    const { clock } = this.#options;
    const { request } = asked;
    const since = this.changes.now;
    const sentMs = clock.now();
    const lines = stored === undefined ? [] : validatorLines(stored);
    const isOwn = lines.length > 0;
    const reply = await asked.send({
      // A caller's own conditions are for what it has; ours are for what is kept.
      ...(isOwn && { headers: [...withoutLines(request.rawHeaders, conditionNames), ...lines] }),
      ...(signal && { signal }),
    });
    const times = { sentMs, receivedMs: clock.now(), since };
    if (!isOwn || stored === undefined || reply.status !== 304) return this.#keep(asked, reply, times);
    dispose(reply);
    if (isAbout(stored, reply.headers)) return this.#renew(asked, stored, { reply, ...times });
    // It is about something that is not kept: asked again without a condition, once.
    return this.#ask({ ...asked, stored: undefined }, undefined, signal);
  }

  async #keep(asked: Asked, reply: CacheReply, times: Times): Promise<Fetched> {
    if (reply.isStandIn) return { kind: "passed", reply, why: "not from the target" };
    const { spec, store } = this.#options;
    const { request, key, stored } = asked;
    const { status, reason, headers } = reply;
    const judged = judge({ ...times, ...exchangeOf(asked), status, reason, headers }, spec);
    if ("why" in judged) {
      if (stored !== undefined && status < 500) store.delete(key);
      return { kind: "passed", reply, why: judged.why };
    }
    const gathered = await gather(reply, spec.maxBodyBytes);
    if ("reply" in gathered)
      return { kind: "passed", reply: gathered.reply, why: "longer than maxBodyBytes" };
    const answer = { ...judged.answer, body: gathered.bytes, tags: await this.#tags(request, reply) };
    this.#put(asked, answer, times.since);
    return { kind: "kept", answer, how: "stored", status };
  }

  #renew(asked: Asked, stored: StoredAnswer, { reply, ...times }: Times & { reply: CacheReply }): Fetched {
    const { spec, store } = this.#options;
    const { status, reason, body, tags } = stored;
    const headers = mergedLines(stored.headers, reply.headers);
    const judged = judge({ ...times, ...exchangeOf(asked), status, reason, headers }, spec);
    if ("why" in judged) {
      store.delete(asked.key);
      const renewed = { status, reason, headers, body };
      return { kind: "passed", reply: renewed, why: judged.why };
    }
    const answer = { ...judged.answer, body, tags };
    this.#put(asked, answer, times.since);
    return { kind: "kept", answer, how: "unchanged", status: 304 };
  }

  async #tags(request: CacheRequest, reply: CacheReply): Promise<string[]> {
    if (this.#tagsOf === undefined) return [];
    return (await this.#tagsOf)(request, reply);
  }

  #put({ key, variants }: Asked, answer: StoredAnswer, since: number): void {
    const { store, clock, random } = this.#options;
    if (this.changes.hasChanged(key, since)) return;
    const retainMs = retention(answer, clock.now());
    if (answer.varyNames.length === 0) {
      store.put(key, answer, retainMs);
      return;
    }
    const isKnown = variants !== undefined && hasSameValues(variants.names, answer.varyNames);
    const under = isKnown ? variants : { names: answer.varyNames, variant: random.uuid() };
    store.put(key, under, retainMs);
    store.put(variantKey(key, under.variant, answer.varyValues), answer, retainMs);
  }
}

interface Times {
  sentMs: number;
  receivedMs: number;
  /** What had changed by then. */
  since: number;
}

function exchangeOf({ request, asked }: Asked) {
  const { method, apartBy } = request;
  return { method, apartBy, header: (name: string) => request.header(name), asked };
}

function retention(answer: StoredAnswer, nowMs: number): number {
  const leftMs = Math.max(0, answer.lifetimeMs - ageMs(answer, nowMs));
  const staleMs = Math.max(answer.staleWhileRevalidateMs, answer.staleIfErrorMs);
  return Math.min(retainMaxMs, leftMs + Math.max(staleMs, hasValidator(answer) ? validatedMs : 0));
}
