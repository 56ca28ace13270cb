import { BodyTaken, BodyTooLarge } from "./errors.ts";
import type { Body, Cancellation, HttpReply, HttpRequest, RawHeaders } from "./types.ts";

export interface RequestChange {
  method?: string;
  target?: string;
  rawHeaders?: RawHeaders;
  body?: Body;
}

/** A request with something of it changed; a new body has its own length, whatever the old headers said. */
export function changedRequest(request: HttpRequest, change: RequestChange): HttpRequest {
  return new ChangedRequest(request, change);
}

class ChangedRequest implements HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Body;
  readonly remoteAddress: string;
  readonly cancellation: Cancellation | undefined;
  readonly #request: HttpRequest;

  constructor(request: HttpRequest, { method, target, rawHeaders, body }: RequestChange) {
    this.#request = request;
    this.method = method ?? request.method;
    this.target = target ?? request.target;
    const headers = rawHeaders ?? request.rawHeaders;
    this.rawHeaders = body === undefined ? headers : withoutHeaders(headers, framing);
    this.body = body ?? request.body;
    this.remoteAddress = request.remoteAddress;
    this.cancellation = request.cancellation;
  }

  header(lowerName: string): string | undefined {
    return headerOf(this.rawHeaders, lowerName);
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }
}

const framing = new Set(["content-length", "transfer-encoding"]);

/** Header lines without those of these lower-case names. */
export function withoutHeaders(raw: RawHeaders, lowerNames: ReadonlySet<string>): RawHeaders {
  const kept: RawHeaders = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!lowerNames.has(name.toLowerCase())) kept.push(name, raw[i + 1] as string);
  }
  return kept;
}

/** The value by lower-case name; several lines are joined by ", ". */
export function headerOf(raw: RawHeaders, lowerName: string): string | undefined {
  let value: string | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase() !== lowerName) continue;
    const line = raw[i + 1] as string;
    value = value === undefined ? line : `${value}, ${line}`;
  }
  return value;
}

/** A body of which the pieces are made as they are read. */
export class StreamedBody implements Body {
  readonly size: number | undefined;
  readonly #pieces: AsyncIterable<Uint8Array>;
  #isTaken = false;

  constructor(pieces: AsyncIterable<Uint8Array>, size?: number) {
    this.#pieces = pieces;
    this.size = size;
  }

  async bytes(limit: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let size = 0;
    for await (const piece of this) {
      size += piece.byteLength;
      if (size > limit) throw new BodyTooLarge(limit);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#isTaken) throw new BodyTaken();
    this.#isTaken = true;
    return this.#pieces[Symbol.asyncIterator]();
  }
}

/** An answer that lets a request go no further. */
export function plainReply(status: number, text: string): HttpReply {
  return { status, headers: ["Content-Type", "text/plain; charset=utf-8"], body: text };
}
