import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { IncomingBody, noBody, readyBytes } from "../http1/body.ts";
import { BodyAborted } from "../http1/errors.ts";
import type { Body, HttpHandler, HttpReply, HttpRequest, RawHeaders } from "../http1/types.ts";
import type { HeaderObject } from "./metadata.ts";
import { stopUpload } from "./stop-upload.ts";
import { breakStream } from "./stream-reset.ts";

/** Serves an HTTP/2 request that is not gRPC with a handler written for HTTP/1.1. */
export function serveHttp2Request(
  handler: HttpHandler,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: RawHeaders,
): void {
  const request = new Http2Request(stream, headers, rawHeaders);
  stream.on("error", ignore);
  answer(handler, request, stream).catch(() => {
    if (!stream.headersSent && !stream.closed && !stream.destroyed) {
      stream.respond({ ":status": 500 }, { endStream: true });
    } else breakStream(stream);
  });
}

async function answer(handler: HttpHandler, request: Http2Request, stream: ServerHttp2Stream): Promise<void> {
  const reply = await handler(request);
  if (stream.closed || stream.destroyed) {
    await abandonBody(reply.body);
    return;
  }
  await sendReply(stream, request.method, reply);
  drainUpload(stream, request.body);
}

/** A handler may answer before the request has arrived; up to this much of the rest is read and dropped. */
const drainBytesMax = 16 * 1024 * 1024;

/** Some clients take the reset that follows an early answer for a failure: most uploads are let through. */
function drainUpload(stream: ServerHttp2Stream, body: Body): void {
  if (stream.readableEnded || !(body instanceof IncomingBody)) return;
  body.discard();
  let drained = 0;
  stream.on("data", (chunk: Uint8Array) => {
    drained += chunk.length;
    if (drained > drainBytesMax) stopUpload(stream);
  });
}

/** Fields of one connection: HTTP/2 has none of them (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

class Http2Request implements HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Body;
  readonly #stream: ServerHttp2Stream;
  readonly #session: ServerHttp2Stream["session"];
  readonly #headers: IncomingHttpHeaders;
  #controller: AbortController | undefined;
  #isAborted = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: RawHeaders) {
    this.#stream = stream;
    this.#session = stream.session;
    this.#headers = headers;
    this.method = headers[":method"] ?? "GET";
    this.target = headers[":path"] ?? "/";
    this.rawHeaders = plainHeaders(headers, rawHeaders);
    this.body = stream.endAfterHeaders ? noBody : this.#receiveBody();
    stream.on("close", () => {
      if (!stream.writableFinished) this.#abort();
    });
    stream.on("aborted", () => this.#abort());
  }

  header(lowerName: string): string | undefined {
    if (lowerName === "host") return this.#headers.host ?? this.#headers[":authority"];
    const value = this.#headers[lowerName];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  get remoteAddress(): string {
    return this.#session?.socket?.remoteAddress ?? "";
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  #receiveBody(): IncomingBody {
    const stream = this.#stream;
    const length = this.#headers["content-length"];
    const size = length !== undefined && /^[0-9]{1,15}$/.test(length) ? Number(length) : undefined;
    const body = new IncomingBody(size, {
      wanted: () => {
        if (this.#headers.expect !== undefined && !stream.headersSent)
          stream.additionalHeaders({ ":status": 100 });
      },
      readMore: () => stream.resume(),
      dropped: () => stream.resume(),
    });
    stream.on("data", (chunk: Uint8Array) => {
      if (!body.push(chunk)) stream.pause();
    });
    const lose = () => body.fail(new BodyAborted());
    stream.on("aborted", lose);
    stream.on("close", lose);
    stream.on("end", () => {
      // A reset ends the stream too; half a body must not pass for the whole.
      if (stream.aborted) lose();
      else body.finish();
    });
    return body;
  }

  #abort(): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#controller?.abort();
  }
}

/** The lines without pseudo headers; `:authority` becomes the Host line a handler looks for. */
function plainHeaders(headers: IncomingHttpHeaders, rawHeaders: RawHeaders): RawHeaders {
  const plain: RawHeaders = [];
  const authority = headers[":authority"];
  if (headers.host === undefined && authority !== undefined) plain.push("host", authority);
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (!name.startsWith(":")) plain.push(name, rawHeaders[i + 1] as string);
  }
  return plain;
}

async function sendReply(stream: ServerHttp2Stream, method: string, reply: HttpReply): Promise<void> {
  if (reply.status === 101) {
    // There is no Upgrade in HTTP/2, so there is no connection to take over.
    stream.respond({ ":status": 501 }, { endStream: true });
    return;
  }
  const headers = replyHeaders(reply);
  const isBodiless = method === "HEAD" || reply.status === 204 || reply.status === 304;
  const { body } = reply;
  const bytes = wholeBody(body);
  if (bytes !== undefined && headers["content-length"] === undefined && reply.status !== 204) {
    if (bytes.length > 0 || body !== undefined || !isBodiless)
      headers["content-length"] = String(bytes.length);
  }
  if (isBodiless || bytes?.length === 0) {
    stream.respond(headers, { endStream: true });
    if (bytes === undefined) await abandonBody(body);
  } else {
    stream.respond(headers);
    if (bytes !== undefined) stream.end(bytes);
    else await sendBody(stream, body as AsyncIterable<Uint8Array>);
  }
}

function wholeBody(body: HttpReply["body"]): Uint8Array | undefined {
  if (body === undefined) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (body instanceof Uint8Array) return body;
  return body instanceof IncomingBody ? readyBytes(body) : undefined;
}

async function sendBody(stream: ServerHttp2Stream, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (stream.closed || stream.destroyed) return;
    if (chunk.length > 0 && !stream.write(chunk)) await drained(stream);
  }
  stream.end();
}

function drained(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      stream.off("drain", go);
      stream.off("close", go);
      resolve();
    };
    stream.on("drain", go);
    stream.on("close", go);
  });
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

function ignore(): void {}
