import type { InboundHttpCall, InboundLayer, WholeCall } from "../../app/channel.ts";
import type { Clock } from "../../edges/clock.ts";
import { errors, Fault } from "../../errors.ts";
import type { HttpReply } from "../../net/http1/types.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { isEffectsType } from "../pubsub/content-type.ts";
import type { Mutation } from "../store/store.ts";
import type { EffectInput } from "./effect-mutations.ts";
import { type Effects, parseEffects } from "./effects.ts";
import { callVariables, keyedCall } from "./http-key.ts";
import { InvalidEffects } from "./json-fields.ts";
import { keyLengthMax } from "./key.ts";
import { isFailure, type Policy } from "./policy.ts";
import type { DoneRecord } from "./record.ts";
import { type ClaimRequest, EffectConflict, handlerTimeoutMs, type Records, type Ticket } from "./records.ts";
import { collectReply, headerOf } from "./reply-body.ts";
import type { SpaceOf } from "./spaces.ts";

export interface LayerOptions {
  records: Records;
  clock: Clock;
  log: Log;
  spaceOf: SpaceOf;
  /** An id for effects of calls that came without a key. */
  newId: () => string;
  /** Throws `InvalidEffects` and Faults. */
  mutationsOf(effects: Effects, input: EffectInput): Mutation[];
  /** Commits effects of a call without a key. */
  commit(mutations: readonly Mutation[]): Promise<unknown>;
}

type Next = (whole?: WholeCall) => Promise<HttpReply>;

const effectsBytesMax = 4 * 1024 * 1024;
const replayedHeader = "Idempotent-Replayed";

/** Calls to the app: each key once, later ones get the first reply (resource-model.md §4). */
export class HttpLayer implements InboundLayer {
  readonly #policy: Policy;
  readonly #options: LayerOptions;

  constructor(policy: Policy, options: LayerOptions) {
    this.#policy = policy;
    this.#options = options;
  }

  async handle(call: InboundHttpCall, next: Next): Promise<HttpReply> {
    try {
      return await this.#handle(call, next);
    } catch (error) {
      // An answer like the app's own: between two runtimes an error would lose its status.
      if (error instanceof Fault) return faultReply(error);
      throw error;
    }
  }

  async #handle(call: InboundHttpCall, next: Next): Promise<HttpReply> {
    const { spec, keyOf } = this.#policy;
    const given = headerOf(call, "idempotency-key");
    if (keyOf === undefined && given === undefined) return this.#withoutKey(call, await next());
    const body = await call.body.bytes(call.bodyBytesMax);
    const variables = keyOf && callVariables(call, body);
    const key = keyOf === undefined ? given : keyOf(variables ?? {});
    if (key === undefined || key === "") {
      return this.#withoutKey(call, await this.#call(next, body));
    }
    if (key.length > keyLengthMax) throw errors.IDEMPOTENCY_KEY(`longer than ${keyLengthMax} characters`);
    const request: ClaimRequest = {
      ...keyedCall({ call, key, body, isOwnKey: keyOf !== undefined }, spec, this.#options.spaceOf),
      windowMs: spec.windowMs,
      waitMs: spec.inFlight === "wait" ? spec.waitTimeoutMs : 0,
    };
    return this.#once(request, call, () => this.#call(next, body));
  }

  async #once(
    request: ClaimRequest,
    call: InboundHttpCall,
    work: () => Promise<HttpReply>,
  ): Promise<HttpReply> {
    const { records } = this.#options;
    const claimed = await records.claim(request);
    if (claimed.kind === "other") throw errors.IDEMPOTENCY_KEY_REUSED();
    if (claimed.kind === "busy") throw errors.IDEMPOTENCY_IN_FLIGHT();
    if (claimed.kind === "done") return replay(claimed.record, claimed.body);
    const { ticket } = claimed;
    let settled: HttpReply | undefined;
    try {
      settled = await this.#settle(ticket, await work(), call);
    } catch (error) {
      await records.forget(ticket);
      throw error;
    }
    if (settled !== undefined) return settled;
    // Somebody took the key over while we were away: what they made of it is the reply.
    const again = await records.claim({ ...request, waitMs: this.#policy.spec.waitTimeoutMs });
    if (again.kind === "done") return replay(again.record, again.body);
    if (again.kind === "mine") await records.forget(again.ticket);
    throw errors.IDEMPOTENCY_IN_FLIGHT();
  }

  /** Goes on when the caller leaves: the caller comes again with the key and wants the reply. */
  async #call(next: Next, body: Uint8Array): Promise<HttpReply> {
    const late = new AbortController();
    const abort = (): void => late.abort(new Error("the app did not answer in time"));
    const timer = this.#options.clock.setTimer(handlerTimeoutMs, abort, { background: true });
    try {
      return await next({ body, signal: late.signal });
    } finally {
      timer.cancel();
    }
  }

  /** Records what came of it; `undefined` when the key is no longer ours. */
  async #settle(ticket: Ticket, answer: HttpReply, call: InboundHttpCall): Promise<HttpReply | undefined> {
    const { records } = this.#options;
    const { spec } = this.#policy;
    if (isEffects(answer)) return this.#takeEffects(ticket, answer, call);
    if (answer.status === 101 || (spec.onFailure === "forget" && isFailure(spec, answer.status))) {
      await records.forget(ticket);
      return answer;
    }
    if (spec.mode === "skip") return (await records.finish(ticket, {})) ? answer : undefined;
    const { reply, body } = await collectReply(answer, spec.storedBodyBytesMax);
    if (body === undefined) {
      const { name } = this.#policy;
      this.#options.log.warn({}, `a reply is larger than maxStoredBody of Idempotency ${name}: not stored`);
    }
    const record = body === undefined ? { isReplyLost: true as const } : { reply: shownReply(reply) };
    const isOurs = await records.finish(ticket, record, body && { body });
    return isOurs ? reply : undefined;
  }

  async #takeEffects(
    ticket: Ticket,
    answer: HttpReply,
    call: InboundHttpCall,
  ): Promise<HttpReply | undefined> {
    const { effects, mutations } = await this.#read(answer, `${ticket.space}/${ticket.key}`, call);
    const reply = effectsReply(effects);
    const { body, ...head } = reply;
    try {
      const isOurs = await this.#options.records.finish(
        ticket,
        { reply: shownReply(head) },
        { body: body ?? new Uint8Array(0), effects: mutations },
      );
      return isOurs ? reply : undefined;
    } catch (error) {
      throw error instanceof EffectConflict
        ? errors.EFFECTS_CONFLICT(error.message, { cause: error })
        : error;
    }
  }

  /** Without a key the effects are still one commit, but nothing recognises a repetition. */
  async #withoutKey(call: InboundHttpCall, answer: HttpReply): Promise<HttpReply> {
    if (!isEffects(answer)) return answer;
    const { effects, mutations } = await this.#read(answer, this.#options.newId(), call);
    try {
      if (mutations.length > 0) await this.#options.commit(mutations);
    } catch (error) {
      throw error instanceof EffectConflict
        ? errors.EFFECTS_CONFLICT(error.message, { cause: error })
        : error;
    }
    return effectsReply(effects);
  }

  async #read(answer: HttpReply, name: string, { trace }: InboundHttpCall) {
    const { body } = await collectReply(answer, effectsBytesMax);
    if (body === undefined) throw errors.EFFECTS_INVALID(`more than ${effectsBytesMax} bytes`);
    try {
      const effects = parseEffects(body);
      const input = { name, trace, atomicWith: this.#policy.spec.atomicWith };
      return { effects, mutations: this.#options.mutationsOf(effects, input) };
    } catch (error) {
      // Faults of the building blocks are the app's mistakes, not those of its caller.
      const isTheirs = error instanceof InvalidEffects || error instanceof Fault;
      throw isTheirs ? errors.EFFECTS_INVALID(error.message, { cause: error }) : error;
    }
  }
}

function isEffects(reply: HttpReply): boolean {
  return reply.status >= 200 && reply.status <= 299 && isEffectsType(headerOf(reply, "content-type"));
}

interface WholeReply extends HttpReply {
  body: Uint8Array | undefined;
}

function effectsReply({ reply }: Effects): WholeReply {
  if (reply === undefined) return { status: 204, headers: [], body: undefined };
  return { status: reply.status, headers: reply.headers.flat(), body: reply.body };
}

function shownReply({ status, reason, headers }: HttpReply): NonNullable<DoneRecord["reply"]> {
  return { status, reason, headers };
}

function replay({ reply, isReplyLost }: DoneRecord, body: Uint8Array): HttpReply {
  if (isReplyLost) throw errors.IDEMPOTENCY_REPLY_LOST();
  if (reply === undefined) return { status: 204, headers: [replayedHeader, "true"] };
  const { status, reason, headers } = reply;
  return {
    status,
    reason,
    headers: [...headers, replayedHeader, "true"],
    ...(body.length > 0 && { body }),
  };
}

function faultReply({ http, code, message }: Fault): HttpReply {
  const body = JSON.stringify({ errorCode: code, message });
  return { status: http, headers: ["Content-Type", "application/json"], body };
}
