import type { HeaderObject } from "../http2/header-encoder.ts";
import type { Metadata } from "./types.ts";

/** Set by the transport on its own, in both directions; never seen in metadata nor taken from it. */
const transportHeaders = new Set([
  "te",
  "content-type",
  "content-length",
  "grpc-timeout",
  "grpc-encoding",
  "grpc-accept-encoding",
  "grpc-message-type",
  "grpc-status",
  "grpc-message",
  "grpc-status-details-bin",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "host",
  "http2-settings",
  "trailer",
  "proxy-authenticate",
  "proxy-authorization",
]);

export type { HeaderObject };

/** Raw header lines (name, value, name, value …) to metadata, in wire order and with duplicates. */
export function readMetadata(rawHeaders: readonly string[]): Metadata {
  const metadata: Metadata = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.charCodeAt(0) === 58 || transportHeaders.has(name)) continue;
    const value = rawHeaders[i + 1] as string;
    if (name.endsWith("-bin")) pushBinary(metadata, name, value);
    else metadata.push([name, value]);
  }
  return metadata;
}

/** Some peers join the values of a binary header with commas and some pad base64: both are allowed on the wire. */
function pushBinary(metadata: Metadata, name: string, value: string): void {
  for (const part of value.split(",")) metadata.push([name, part.trim().replace(/=+$/, "")]);
}

/** Adds metadata to a header object; a name that is there already becomes a list of values. */
export function addMetadata(headers: HeaderObject, metadata: Metadata): HeaderObject {
  for (const [name, value] of metadata) {
    const lowerName = name.toLowerCase();
    if (lowerName.charCodeAt(0) === 58 || transportHeaders.has(lowerName)) continue;
    appendHeader(headers, lowerName, value);
  }
  return headers;
}

const headerName = /^[0-9a-z!#$%&'*+.^_`|~-]+$/;
const plainValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Text beyond Latin-1 goes out as UTF-8 bytes; what would break the header block becomes a space. */
function sendableValue(value: string): string {
  return Buffer.from(value, "utf8")
    .toString("latin1")
    .replace(/[^\t\x20-\x7e\x80-\xff]/g, " ");
}

const connectionHeaders = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "te",
  "http2-settings",
  "trailer",
  "proxy-authenticate",
  "proxy-authorization",
]);

/** Header or trailer lines of another server to pass on: all but pseudo and connection-specific ones. */
export function forwardedHeaders(rawHeaders: readonly string[]): HeaderObject {
  const headers: HeaderObject = {};
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.charCodeAt(0) === 58 || connectionHeaders.has(name)) continue;
    appendHeader(headers, name, rawHeaders[i + 1] as string);
  }
  return headers;
}

function appendHeader(headers: HeaderObject, name: string, text: string): void {
  if (!headerName.test(name)) return;
  const value = plainValue.test(text) ? text : sendableValue(text);
  const present = headers[name];
  if (present === undefined) headers[name] = value;
  else if (Array.isArray(present)) present.push(value);
  else headers[name] = [String(present), value];
}

const unitMs: Record<string, number> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Milliseconds of a grpc-timeout value, `undefined` when it is malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const unit = unitMs[value.charAt(value.length - 1)];
  const digits = value.slice(0, -1);
  if (unit === undefined || !/^[0-9]{1,8}$/.test(digits)) return undefined;
  return Number(digits) * unit;
}

/** The finest unit that keeps the value within eight digits; never rounds up to more time than there is. */
export function formatGrpcTimeout(timeoutMs: number): string {
  if (timeoutMs <= 0) return "0m";
  if (timeoutMs < 1) return `${Math.max(1, Math.floor(timeoutMs * 1000))}u`;
  if (timeoutMs < 1e8) return `${Math.floor(timeoutMs)}m`;
  if (timeoutMs < 1e11) return `${Math.floor(timeoutMs / 1000)}S`;
  return `${Math.min(99_999_999, Math.floor(timeoutMs / 3_600_000))}H`;
}

export function encodeBinaryMetadata(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64").replace(/=+$/, "");
}

export function decodeBinaryMetadata(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}
