import { isKnownToCaller, linesOfNotModified } from "./conditional.ts";
import { lineOf } from "./header-lines.ts";
import { hasCondition } from "./request-signs.ts";
import type { StoredAnswer } from "./stored.ts";

/** A request as the cache looks at it. */
export interface CacheRequest {
  method: string;
  /** Raw, with its query. */
  target: string;
  rawHeaders: readonly string[];
  /** What tells answers of one target apart without their saying so, such as a host. */
  scope?: string | undefined;
  /** Names of headers that do so too. */
  apartBy?: readonly string[] | undefined;
  header(lowerName: string): string | undefined;
  hasBody: boolean;
  /** May be made when it is first looked at. */
  readonly signal: AbortSignal;
}

/** An answer as it goes to the caller; HTTP's own has the same shape. */
export interface CacheReply {
  status: number;
  reason?: string | undefined;
  headers: string[];
  body?: Uint8Array | string | AsyncIterable<Uint8Array> | undefined;
  /** The same object is sent many times. */
  isRepeated?: boolean | undefined;
  /** It did not come from the target itself: it is given to this caller, and not kept. */
  isStandIn?: boolean | undefined;
}

/** Sends the request on, as it is or changed. */
export type Send = (change?: Change) => Promise<CacheReply>;

export interface Change {
  headers?: string[];
  signal?: AbortSignal;
  /** Something else is asked of the same target. */
  instead?: { method: string; target: string; body: Uint8Array };
}

interface Made {
  age: number;
  ttl: number;
  reply: CacheReply;
}

/** Replies of stored answers. They differ each second by their age: the one of this second is made once. */
export class StoredReplies {
  readonly #made = new WeakMap<StoredAnswer, Made>();

  hit(stored: StoredAnswer, ageMs: number, ttlMs: number): CacheReply {
    const age = Math.floor(ageMs / 1000);
    const ttl = Math.floor(ttlMs / 1000);
    const known = this.#made.get(stored);
    if (known !== undefined && known.age === age && known.ttl === ttl) return known.reply;
    const reply = { ...storedReply(stored, ageMs, `hit; ttl=${ttl}`), isRepeated: true };
    this.#made.set(stored, { age, ttl, reply });
    return reply;
  }
}

/** A stored answer with its age, and how it came to be used (RFC 9211). */
export function storedReply(stored: StoredAnswer, ageMs: number, status: string): CacheReply {
  const age = Math.floor(Math.min(ageMs, 2 ** 31 * 1000) / 1000);
  return {
    status: stored.status,
    reason: stored.reason,
    headers: [...stored.headers, "Age", String(age), "Cache-Status", `mecha; ${status}`],
    body: stored.body,
  };
}

/** The same as 304 when the caller has it already. */
export function forCaller(
  reply: CacheReply,
  stored: StoredAnswer,
  request: CacheRequest,
  signs: number,
): CacheReply {
  if ((signs & hasCondition) === 0) return reply;
  if (!isKnownToCaller(stored, (name) => request.header(name))) return reply;
  const added = reply.headers.slice(stored.headers.length);
  return { status: 304, headers: [...linesOfNotModified(stored), ...added] };
}

export function withStatus(reply: CacheReply, status: string): CacheReply {
  return { ...reply, headers: [...reply.headers, "Cache-Status", `mecha; ${status}`] };
}

/** Copies with other lines are no more to be kept than the reply itself. */
export function notToKeep<R extends CacheReply>(reply: R): R {
  reply.isStandIn = true;
  return reply;
}

/** Ends a body that nobody will read, so that its connection is free again. */
export function dispose({ body }: CacheReply): void {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) return;
  body[Symbol.asyncIterator]()
    .return?.()
    ?.then(undefined, () => {});
}

const nothing = new Uint8Array(0);

/** The whole body in bytes of its own, or a reply whose body is longer than that and still to be read. */
export async function gather(
  reply: CacheReply,
  bytesMax: number,
): Promise<{ bytes: Uint8Array } | { reply: CacheReply }> {
  const { body } = reply;
  if (body === undefined) return { bytes: nothing };
  if (typeof body === "string") return fits(reply, Buffer.from(body), bytesMax);
  if (body instanceof Uint8Array) return fits(reply, body, bytesMax);
  const told = lineOf(reply.headers, "content-length");
  if (told !== undefined && Number(told) > bytesMax) return { reply };
  return gatherStream(reply, body[Symbol.asyncIterator](), bytesMax);
}

/** A copy: what comes off a socket is a part of a larger buffer, which it would keep alive. */
function fits(
  reply: CacheReply,
  bytes: Uint8Array,
  bytesMax: number,
): { bytes: Uint8Array } | { reply: CacheReply } {
  return bytes.length > bytesMax ? { reply } : { bytes: new Uint8Array(bytes) };
}

async function gatherStream(
  reply: CacheReply,
  pieces: AsyncIterator<Uint8Array>,
  bytesMax: number,
): Promise<{ bytes: Uint8Array } | { reply: CacheReply }> {
  const read: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const next = await pieces.next();
    if (next.done) return { bytes: joined(read, size) };
    read.push(next.value);
    size += next.value.length;
    if (size > bytesMax) return { reply: { ...reply, body: continued(read, pieces) } };
  }
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

async function* continued(
  read: readonly Uint8Array[],
  pieces: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* read;
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) yield next.value;
  } finally {
    await pieces.return?.();
  }
}
