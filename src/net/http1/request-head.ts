import { readyBytes } from "./body.ts";
import { isToken } from "./charset.ts";
import { CHUNKED } from "./controls.ts";
import { InvalidMessage } from "./errors.ts";
import { hasOption, type SentFields, writeFields } from "./head-writer.ts";
import type { HttpAddress, HttpClientRequest } from "./types.ts";

/** A request ready for the wire. */
export interface PreparedRequest {
  head: string;
  /** The whole body, when it is known now: such a request can be sent twice. */
  bytes: Uint8Array | undefined;
  stream: AsyncIterable<Uint8Array> | undefined;
  /** Framing of `stream`. */
  length: number;
  closes: boolean;
  asksUpgrade: boolean;
}

const nothing = new Uint8Array(0);
// Every byte of a start line but the space; "#" never goes to a server.
const targetPattern = /^[!"$-~\x80-\xff]+$/;

export function prepareRequest(address: HttpAddress, request: HttpClientRequest): PreparedRequest {
  const { method, target } = request;
  if (method !== "GET" && method !== "POST" && !isToken(method)) throw new InvalidMessage("invalid method");
  if (method === "CONNECT") throw new InvalidMessage("CONNECT is not supported");
  if (!targetPattern.test(target)) throw new InvalidMessage("invalid request target");
  const fields = writeFields(request.headers);
  const bytes = wholeBody(request.body);
  const stream = bytes ? undefined : (request.body as AsyncIterable<Uint8Array>);
  const length = bytes ? bytes.length : streamLength(stream, fields);
  const asksUpgrade = hasOption(fields.connection, "upgrade");
  const closes = hasOption(fields.connection, "close");
  let head = `${method} ${target} HTTP/1.1\r\n`;
  if (!fields.hasHost) head += `Host: ${hostOf(address)}\r\n`;
  head += fields.lines;
  if (length === CHUNKED) head += "Transfer-Encoding: chunked\r\n";
  else if (length > 0 || stream || usuallyHasBody(method)) head += `Content-Length: ${length}\r\n`;
  if (asksUpgrade) head += "Connection: Upgrade\r\n";
  else if (closes) head += "Connection: close\r\n";
  return { head: `${head}\r\n`, bytes, stream, length, closes, asksUpgrade };
}

function wholeBody(body: HttpClientRequest["body"]): Uint8Array | undefined {
  if (body === undefined) return nothing;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  return "bytes" in body ? readyBytes(body) : undefined;
}

function streamLength(stream: AsyncIterable<Uint8Array> | undefined, fields: SentFields): number {
  if (stream && "size" in stream && "bytes" in stream) {
    const size = stream.size;
    return typeof size === "number" ? size : CHUNKED;
  }
  return fields.length ?? CHUNKED;
}

function usuallyHasBody(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

function hostOf(address: HttpAddress): string {
  const host = address.host === "" ? "localhost" : address.host;
  const bracketed = host.includes(":") ? `[${host}]` : host;
  const isDefault = address.socketPath !== undefined || address.port === (address.tls ? 443 : 80);
  return isDefault ? bracketed : `${bracketed}:${address.port}`;
}
