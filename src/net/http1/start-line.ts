import { isToken } from "./charset.ts";
import { HttpParseError } from "./errors.ts";
import type { MessageHead } from "./head.ts";

export interface RequestLine {
  method: string;
  target: string;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  minor: number;
}

export interface StatusLine {
  status: number;
  reason: string;
  minor: number;
}

const versionPattern = /^HTTP\/\d\.\d$/;
const methodBytesMax = 64;

/** `METHOD SP target SP HTTP/1.x`: exactly two spaces, RFC 9112 §3. */
export function parseRequestLine(head: MessageHead): RequestLine {
  const { text, lineStart, lineEnd } = head;
  const space = text.indexOf(" ", lineStart);
  const versionAt = lineEnd - 8;
  if (space === -1 || space >= versionAt - 1 || text.charCodeAt(versionAt - 1) !== 0x20) {
    throw new HttpParseError("malformed request line");
  }
  const method = text.substring(lineStart, space);
  if (method !== "GET" && method !== "POST" && !(method.length <= methodBytesMax && isToken(method))) {
    throw new HttpParseError("invalid method");
  }
  const target = text.substring(space + 1, versionAt - 1);
  const minor = httpMinor(text, versionAt);
  checkTarget(method, target);
  return { method, target, minor };
}

/** `HTTP/1.x SP status [SP reason]`, RFC 9112 §4; a missing space before an empty reason is let pass. */
export function parseStatusLine(head: MessageHead): StatusLine {
  const { text, lineStart, lineEnd } = head;
  const minor = httpMinor(text, lineStart);
  const hundreds = digit(text, lineStart + 9);
  const status = hundreds * 100 + digit(text, lineStart + 10) * 10 + digit(text, lineStart + 11);
  const after = lineStart + 12;
  const isEnded = lineEnd === after || text.charCodeAt(after) === 0x20;
  if (text.charCodeAt(lineStart + 8) !== 0x20 || !(status >= 100) || !isEnded || after > lineEnd) {
    throw new HttpParseError("malformed status line");
  }
  return { status, reason: text.substring(after + 1, lineEnd), minor };
}

function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function httpMinor(text: string, at: number): number {
  if (text.startsWith("HTTP/1.1", at)) return 1;
  if (text.startsWith("HTTP/1.0", at)) return 0;
  const isVersion = versionPattern.test(text.substring(at, at + 8));
  throw isVersion ? new HttpParseError("unsupported version", 505) : new HttpParseError("invalid version");
}

/** Origin-form for all; asterisk-form for OPTIONS; absolute-form is checked against Host by `checkHost`. */
function checkTarget(method: string, target: string): void {
  if (method === "CONNECT") throw new HttpParseError("CONNECT is not supported", 501);
  if (target.includes(" ") || target.includes("#")) throw new HttpParseError("invalid request target");
  if (target.charCodeAt(0) === 0x2f) return;
  if (target === "*" && method === "OPTIONS") return;
  if (!absolutePattern.test(target)) throw new HttpParseError("invalid request target");
}

const absolutePattern = /^https?:\/\/([^/?#@\\]+)(?:[/?]|$)/i;
// RFC 3986 §3.2.2: an IP literal in brackets, or the characters of a registered name, then perhaps a port.
const hostPattern =
  /^(?:\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::\d{0,5})?$/;

/** The value of the one Host line; `undefined` when there is none, which only HTTP/1.0 may do. */
export function checkHost(host: string | undefined, line: RequestLine): void {
  if (host === undefined) {
    if (line.minor > 0) throw new HttpParseError("Host is missing");
    return;
  }
  if (!hostPattern.test(host)) throw new HttpParseError("invalid Host");
  if (line.target.charCodeAt(0) === 0x2f || line.target === "*") return;
  const authority = absolutePattern.exec(line.target)?.[1];
  if (authority?.toLowerCase() !== host.toLowerCase()) throw new HttpParseError("target and Host differ");
}
