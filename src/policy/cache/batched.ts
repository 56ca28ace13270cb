import type { Clock } from "../../edges/clock.ts";
import { JsonCursor } from "../../kit/json-cursor.ts";
import type { BatchSpec } from "../../resource/traffic.ts";
import { parseCacheControl } from "./cache-control.ts";
import type { CacheMeter } from "./cache-meter.ts";
import { headersKey } from "./collapsed.ts";
import { lineOf, withoutLines } from "./header-lines.ts";
import { type CacheReply, type CacheRequest, type Change, dispose, gather, type Send } from "./reply.ts";
import { hasCondition, isBeyond, signsOf } from "./request-signs.ts";

const bodyBytesMax = 16 * 1024 * 1024;
/** What is said of the whole answer is not so of a part. */
const ofTheWhole = new Set([
  ...["content-length", "content-type", "content-encoding", "transfer-encoding", "connection"],
  ...["etag", "last-modified", "content-location", "location", "digest", "repr-digest", "content-digest"],
]);

/** Calls for one thing each, that come within a moment, are made as one call; each caller gets its part of the answer. */
export class Batched {
  readonly #spec: BatchSpec;
  readonly #parts: { clock: Clock; meter: CacheMeter };
  readonly #key: RegExp;
  /** By what callers have in common. */
  readonly #open = new Map<string, Batch>();

  constructor(spec: BatchSpec, parts: { clock: Clock; meter: CacheMeter }) {
    this.#spec = spec;
    this.#parts = parts;
    const [before = "", after = ""] = spec.key.split("{id}").map((text) => RegExp.escape(text));
    this.#key = new RegExp(`^${before}([^/?&#]+)${after}$`);
  }

  /** What can not be had together is asked for by itself. */
  async send(request: CacheRequest, send: Send, change?: Change): Promise<CacheReply> {
    const id = change?.headers === undefined ? this.#idOf(request) : undefined;
    if (id === undefined) return send(change);
    const part = await this.#batchFor(request, send).part(id, change?.signal ?? request.signal);
    if (part === undefined) return send(change);
    this.#parts.meter.count("collapsed");
    return part;
  }

  #idOf({ method, target, hasBody, rawHeaders }: CacheRequest): string | undefined {
    if (method !== "GET" || hasBody || (signsOf(rawHeaders) & (isBeyond | hasCondition)) !== 0)
      return undefined;
    const raw = this.#key.exec(target)?.[1];
    if (raw === undefined) return undefined;
    try {
      return decodeURIComponent(raw);
    } catch {
      return undefined;
    }
  }

  #batchFor(request: CacheRequest, send: Send): Batch {
    const key = headersKey(request);
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const batch = new Batch(this.#spec, send, () => {
      if (this.#open.get(key) === batch) this.#open.delete(key);
    });
    this.#open.set(key, batch);
    this.#parts.clock.setTimer(this.#spec.windowMs, () => batch.close());
    return batch;
  }
}

/** One call for several things. */
class Batch {
  readonly #spec: BatchSpec;
  readonly #send: Send;
  readonly #closed: () => void;
  readonly #ids = new Set<string>();
  readonly #abort = new AbortController();
  readonly #parts = Promise.withResolvers<ReadonlyMap<string, CacheReply> | undefined>();
  #waiting = 0;
  #isClosed = false;

  constructor(spec: BatchSpec, send: Send, closed: () => void) {
    this.#spec = spec;
    this.#send = send;
    this.#closed = closed;
  }

  /** `undefined`: it is not to be had together with others. */
  async part(id: string, signal: AbortSignal): Promise<CacheReply | undefined> {
    this.#ids.add(id);
    this.#waiting++;
    if (this.#ids.size >= this.#spec.max) this.close();
    const left = Promise.withResolvers<never>();
    const leave = (): void => left.reject(signal.reason);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    try {
      return (await Promise.race([this.#parts.promise, left.promise]))?.get(id);
    } finally {
      signal.removeEventListener("abort", leave);
      this.#waiting--;
      if (this.#waiting === 0) this.#abort.abort(new Error("everybody who waited for it has left"));
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closed();
    // For one thing alone the call that its caller makes is as good.
    const made = this.#ids.size < 2 || this.#waiting === 0 ? Promise.resolve(undefined) : this.#ask();
    made.then(this.#parts.resolve, () => this.#parts.resolve(undefined));
  }

  async #ask(): Promise<ReadonlyMap<string, CacheReply> | undefined> {
    const { request, split } = this.#spec;
    const ids = [...this.#ids];
    const target = request.path.replaceAll("{ids}", () => ids.map(encodeURIComponent).join(","));
    const body = Buffer.from(request.body.replaceAll("{ids}", () => JSON.stringify(ids)));
    const reply = await this.#send({
      instead: { method: request.method, target, body },
      signal: this.#abort.signal,
    });
    const said = parseCacheControl(lineOf(reply.headers, "cache-control"));
    const isPersonal = said.noStore || said.private || lineOf(reply.headers, "set-cookie") !== undefined;
    const gathered = reply.status === 200 && !isPersonal ? await gather(reply, bodyBytesMax) : { reply };
    if ("reply" in gathered) {
      dispose(gathered.reply);
      return undefined;
    }
    const headers = [...withoutLines(reply.headers, ofTheWhole), "Content-Type", "application/json"];
    const parts = partsOf(Buffer.from(gathered.bytes).toString("utf8"), split);
    return new Map([...parts].map(([id, text]) => [id, { status: 200, headers: [...headers], body: text }]));
  }
}

/** The things in an answer by their ids, each as it stands there. */
export function partsOf(text: string, { items, id }: BatchSpec["split"]): ReadonlyMap<string, string> {
  JSON.parse(text);
  const found = new Map<string, string>();
  const names = items.split("/").slice(1);
  const at = names.reduce<string | undefined>(
    (value, name) => value && membersOf(value).get(name.replaceAll("~1", "/").replaceAll("~0", "~")),
    text,
  );
  if (at === undefined) return found;
  if (id === "") return membersOf(at);
  const cursor = new JsonCursor(at);
  if (!cursor.isArray) return found;
  cursor.array(() => {
    const item = cursor.value();
    const own = membersOf(item).get(id);
    if (own !== undefined) found.set(String(JSON.parse(own)), item);
  });
  return found;
}

function membersOf(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  const cursor = new JsonCursor(text);
  if (cursor.isObject) cursor.object((name) => void members.set(name, cursor.value()));
  return members;
}
