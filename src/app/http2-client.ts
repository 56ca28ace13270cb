import http2, { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from "node:http2";
import type { Socket } from "node:net";
import { realSockets, type Sockets } from "../edges/sockets.ts";
import { IncomingBody, readyBytes } from "../net/http1/body.ts";
import {
  BodyAborted,
  ConnectError,
  ConnectionLost,
  RequestAborted,
  ResponseTimeout,
} from "../net/http1/errors.ts";
import type { Body, HttpAddress, HttpClient, HttpClientRequest, HttpResponse } from "../net/http1/types.ts";

/** HTTP over cleartext HTTP/2 with prior knowledge: one connection per address, made again when it is lost. */
export function createHttp2Client(sockets: Sockets = realSockets): HttpClient {
  return new Http2Client(sockets);
}

/** Fields of one connection: HTTP/2 has none of them (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "host",
  "te",
]);

class Http2Client implements HttpClient {
  readonly #sockets: Sockets;
  readonly #sessions = new Map<string, Promise<ClientHttp2Session>>();

  constructor(sockets: Sockets) {
    this.#sockets = sockets;
  }

  async request(address: HttpAddress, request: HttpClientRequest): Promise<HttpResponse> {
    const authority = `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
    const session = await this.#session(authority, address);
    if (request.signal?.aborted || request.cancellation?.isCancelled) {
      throw new RequestAborted(request.signal?.reason);
    }
    const stream = session.request(requestHeaders(authority, request), { endStream: isEmpty(request.body) });
    const response = awaitResponse(stream, request);
    sendBody(stream, request.body);
    return response;
  }

  close(): void {
    for (const session of this.#sessions.values()) session.then((open) => open.destroy(), ignore);
    this.#sessions.clear();
  }

  #session(authority: string, { host, port }: HttpAddress): Promise<ClientHttp2Session> {
    const present = this.#sessions.get(authority);
    if (present) return present;
    const opening = openSession(
      authority,
      () => this.#sockets.connect({ host, port }),
      () => {
        if (this.#sessions.get(authority) === opening) this.#sessions.delete(authority);
      },
    );
    this.#sessions.set(authority, opening);
    return opening;
  }
}

function openSession(
  authority: string,
  createConnection: () => Socket,
  onGone: () => void,
): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://${authority}`, { createConnection });
    session.once("connect", () => resolve(session));
    // A session that may take no more requests is replaced; those in flight end on it.
    session.once("goaway", onGone);
    session.once("close", onGone);
    session.on("error", (error: NodeJS.ErrnoException) => {
      onGone();
      reject(new ConnectError(error.message, error.code ?? "ECONNRESET", { cause: error }));
    });
  });
}

function requestHeaders(authority: string, request: HttpClientRequest): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {
    ":method": request.method,
    ":path": request.target,
    ":authority": authority,
    ":scheme": "http",
  };
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const name = (request.headers[i] as string).toLowerCase();
    if (connectionFields.has(name)) continue;
    addField(headers, name, request.headers[i + 1] as string);
  }
  const { body } = request;
  const size = typeof body === "string" ? Buffer.byteLength(body) : bodySize(body);
  if (size !== undefined && size > 0) headers["content-length"] = String(size);
  return headers;
}

function addField(headers: Record<string, string | string[]>, name: string, value: string): void {
  const present = headers[name];
  if (present === undefined) headers[name] = value;
  else if (Array.isArray(present)) present.push(value);
  else headers[name] = [present, value];
}

function bodySize(body: Exclude<HttpClientRequest["body"], string>): number | undefined {
  if (body === undefined) return 0;
  if (body instanceof Uint8Array) return body.length;
  return (body as Partial<Body>).size;
}

function isEmpty(body: HttpClientRequest["body"]): boolean {
  return body === "" || (typeof body !== "string" && bodySize(body) === 0);
}

function awaitResponse(stream: ClientHttp2Stream, request: HttpClientRequest): Promise<HttpResponse> {
  const { signal, cancellation, timeoutMs } = request;
  return new Promise((resolve, reject) => {
    let body: IncomingBody | undefined;
    let failure: Error | undefined;
    const giveUp = (error: Error): void => {
      failure ??= error;
      stream.close(http2.constants.NGHTTP2_CANCEL);
    };
    const onAbort = (): void => giveUp(new RequestAborted(signal?.reason));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => giveUp(new ResponseTimeout(timeoutMs)), timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    cancellation?.listen(onAbort);
    stream.on("response", (headers) => {
      clearTimeout(timer);
      body = receiveBody(stream, headers, request.method === "HEAD");
      resolve(responseOf(headers, body));
    });
    stream.on("error", (error) => {
      failure ??= error;
    });
    stream.on("close", () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      cancellation?.listen(undefined);
      if (body) body.fail(failure ?? new BodyAborted());
      else reject(failure ?? new ConnectionLost("connection closed before the answer", false));
    });
  });
}

function receiveBody(
  stream: ClientHttp2Stream,
  headers: Record<string, unknown>,
  isHead: boolean,
): IncomingBody {
  const announced = headers["content-length"];
  const size = isHead ? 0 : announced === undefined ? undefined : Number(announced);
  const body = new IncomingBody(size, {
    wanted: ignore,
    readMore: () => stream.resume(),
    dropped: () => stream.close(http2.constants.NGHTTP2_CANCEL),
  });
  stream.on("data", (chunk: Buffer) => {
    if (!body.push(chunk)) stream.pause();
  });
  stream.on("end", () => {
    if (stream.rstCode === http2.constants.NGHTTP2_NO_ERROR) body.finish();
  });
  return body;
}

function responseOf(headers: Record<string, unknown>, body: IncomingBody): HttpResponse {
  const rawHeaders: string[] = [];
  for (const name in headers) {
    if (name.charCodeAt(0) === 58) continue;
    const value = headers[name] as string | string[];
    if (Array.isArray(value)) for (const line of value) rawHeaders.push(name, line);
    else rawHeaders.push(name, String(value));
  }
  return {
    status: Number(headers[":status"]),
    reason: "",
    rawHeaders,
    body,
    header(lowerName) {
      const value = headers[lowerName] as string | string[] | undefined;
      return Array.isArray(value) ? value.join(", ") : value;
    },
  };
}

function sendBody(stream: ClientHttp2Stream, body: HttpClientRequest["body"]): void {
  if (isEmpty(body)) return;
  if (typeof body === "string" || body instanceof Uint8Array) {
    stream.end(body);
    return;
  }
  const ready = readyBytes(body as Body);
  if (ready) stream.end(ready);
  else
    pump(stream, body as AsyncIterable<Uint8Array>).catch(() => stream.close(http2.constants.NGHTTP2_CANCEL));
}

async function pump(stream: ClientHttp2Stream, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (stream.destroyed || stream.closed) return;
    if (!stream.write(chunk)) await drained(stream);
  }
  stream.end();
}

function drained(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off("drain", settle);
      stream.off("close", settle);
      resolve();
    };
    stream.on("drain", settle);
    stream.on("close", settle);
  });
}

function ignore(): void {}
