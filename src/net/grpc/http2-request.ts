import { IncomingBody, noBody, readyBytes } from "../http1/body.ts";
import { isToken } from "../http1/charset.ts";
import { BodyAborted } from "../http1/errors.ts";
import type { Body, HttpHandler, HttpReply, HttpRequest, RawHeaders } from "../http1/types.ts";
import { errorCode } from "../http2/frames.ts";
import type { HeaderObject } from "../http2/header-encoder.ts";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";
import type { RequestHead } from "../http2/request-head.ts";

/** Serves an HTTP/2 request that is not gRPC with a handler written for HTTP/1.1. */
export function serveHttp2Request(handler: HttpHandler, stream: Http2Stream, head: RequestHead): void {
  if (!isToken(head.method) || /[ #]/.test(head.path) || !isOneHost(head)) {
    stream.sendHead({ ":status": 400 }, true);
    return;
  }
  const request = new Http2Request(stream, head);
  answer(handler, request, stream).catch(() => {
    if (!stream.headersSent && stream.isWritable) stream.sendHead({ ":status": 500 }, true);
    else stream.reset(errorCode.internalError);
  });
}

async function answer(handler: HttpHandler, request: Http2Request, stream: Http2Stream): Promise<void> {
  const reply = await handler(request);
  if (stream.isClosed) {
    await abandonBody(reply.body);
    return;
  }
  await request.sendReply(reply);
  request.drainUpload();
}

/** A handler may answer before the request has arrived; up to this much of the rest is read and dropped. */
const drainBytesMax = 16 * 1024 * 1024;

/** Fields of one connection: HTTP/2 has none of them (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

class Http2Request implements HttpRequest, StreamReceiver {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Body;
  readonly #stream: Http2Stream;
  readonly #incoming: IncomingBody | undefined;
  #controller: AbortController | undefined;
  #isAborted = false;
  #drainLeft: number | undefined;
  #onDrain: (() => void) | undefined;

  constructor(stream: Http2Stream, head: RequestHead) {
    this.#stream = stream;
    this.method = head.method;
    this.target = head.path;
    this.rawHeaders = withHost(head);
    this.#incoming = stream.hasBody ? this.#receiveBody(head) : undefined;
    this.body = this.#incoming ?? noBody;
    stream.receiver = this;
  }

  header(lowerName: string): string | undefined {
    let value: string | undefined;
    const { rawHeaders } = this;
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      if (rawHeaders[i] !== lowerName) continue;
      const line = rawHeaders[i + 1] as string;
      if (value === undefined) value = line;
      else value += lowerName === "cookie" ? `; ${line}` : `, ${line}`;
    }
    return value;
  }

  get remoteAddress(): string {
    return this.#stream.owner.remoteAddress ?? "";
  }

  get connection(): object | undefined {
    return this.#stream.owner.socket;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  // ---- from the stream

  onData(chunk: Uint8Array): void {
    if (this.#drainLeft !== undefined) {
      this.#drainLeft -= chunk.length;
      if (this.#drainLeft < 0) this.#stream.stopUpload();
    } else if (this.#incoming?.push(chunk) === false) this.#stream.pause();
  }

  onEnd(): void {
    this.#incoming?.finish();
  }

  onDrain(): void {
    const go = this.#onDrain;
    this.#onDrain = undefined;
    go?.();
  }

  onAbort(): void {
    this.#incoming?.fail(new BodyAborted());
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#controller?.abort();
    this.onDrain();
  }

  onClose(): void {
    this.#incoming?.fail(new BodyAborted());
    this.onDrain();
  }

  // ---- the answer

  async sendReply(reply: HttpReply): Promise<void> {
    const stream = this.#stream;
    if (reply.status === 101) {
      // There is no Upgrade in HTTP/2, so there is no connection to take over.
      stream.sendHead({ ":status": 501 }, true);
      return;
    }
    const headers = replyHeaders(reply);
    const isBodiless = this.method === "HEAD" || reply.status === 204 || reply.status === 304;
    const { body } = reply;
    const bytes = wholeBody(body);
    if (bytes !== undefined && headers["content-length"] === undefined && reply.status !== 204) {
      if (bytes.length > 0 || body !== undefined || !isBodiless)
        headers["content-length"] = String(bytes.length);
    }
    if (isBodiless || bytes?.length === 0) {
      stream.sendHead(headers, true);
      if (bytes === undefined) await abandonBody(body);
      return;
    }
    stream.sendHead(headers);
    if (bytes !== undefined) stream.end(bytes);
    else await this.#sendBody(body as AsyncIterable<Uint8Array>);
  }

  /** Some clients take the reset that follows an early answer for a failure: most uploads are let through. */
  drainUpload(): void {
    if (this.#stream.isRemoteEnded || this.#incoming === undefined) return;
    this.#incoming.discard();
    this.#drainLeft = drainBytesMax;
    this.#stream.resume();
  }

  async #sendBody(body: AsyncIterable<Uint8Array>): Promise<void> {
    const stream = this.#stream;
    for await (const chunk of body) {
      if (stream.isClosed) return;
      if (chunk.length > 0 && !stream.write(chunk)) {
        await new Promise<void>((resolve) => {
          this.#onDrain = resolve;
        });
      }
    }
    stream.end();
  }

  #receiveBody(head: RequestHead): IncomingBody {
    const stream = this.#stream;
    const length = head.header("content-length");
    return new IncomingBody(length === undefined ? undefined : Number(length), {
      wanted: () => {
        if (head.header("expect") !== undefined && !stream.headersSent) stream.inform(100);
      },
      readMore: () => stream.resume(),
      dropped: () => stream.resume(),
    });
  }
}

/** Whether all that names the host names the same one (RFC 9113 §8.3.1): the next hop has one line for it. */
function isOneHost({ authority, lines }: RequestHead): boolean {
  let host = authority;
  for (let i = 0; i < lines.length; i += 2) {
    if (lines[i] !== "host") continue;
    const line = lines[i + 1] as string;
    if (host !== undefined && host.toLowerCase() !== line.toLowerCase()) return false;
    host = line;
  }
  return true;
}

/** `:authority` becomes the Host line a handler looks for. */
function withHost(head: RequestHead): RawHeaders {
  const { authority, lines } = head;
  const hasHost = authority === undefined || head.header("host") !== undefined;
  return hasHost ? [...lines] : ["host", authority, ...lines];
}

function wholeBody(body: HttpReply["body"]): Uint8Array | undefined {
  if (body === undefined) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (body instanceof Uint8Array) return body;
  return body instanceof IncomingBody ? readyBytes(body) : undefined;
}

function replyHeaders(reply: HttpReply): HeaderObject {
  const headers: HeaderObject = { ":status": reply.status };
  for (let i = 0; i + 1 < reply.headers.length; i += 2) {
    const name = (reply.headers[i] as string).toLowerCase();
    if (connectionFields.has(name)) continue;
    const value = reply.headers[i + 1] as string;
    const present = headers[name];
    if (present === undefined) headers[name] = value;
    else if (Array.isArray(present)) present.push(value);
    else headers[name] = [String(present), value];
  }
  return headers;
}

/** A body nobody will read is told so, to free what stands behind it. */
async function abandonBody(body: HttpReply["body"]): Promise<void> {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) return;
  await body[Symbol.asyncIterator]().return?.();
}
