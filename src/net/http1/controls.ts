import { equalsLower } from "./charset.ts";
import { HttpParseError } from "./errors.ts";
import type { MessageHead } from "./head.ts";

/** Body length when it is chunked. */
export const CHUNKED = -1;
/** Body length when it lasts until the connection ends. */
export const UNTIL_CLOSE = -2;

/** Any number of so many digits is a safe integer. */
const lengthDigitsMax = 15;

/** What the fields of a head say about framing and the connection. */
export interface Controls {
  /** From Content-Length; `undefined` when absent. */
  length: number | undefined;
  isChunked: boolean;
  host: string | undefined;
  expect: string | undefined;
  saysClose: boolean;
  saysKeepAlive: boolean;
  saysUpgrade: boolean;
  hasUpgrade: boolean;
}

/** Reads the fields that decide framing, refusing every form that leaves a doubt (RFC 9112 §6). */
export function readControls(head: MessageHead): Controls {
  const controls: Controls = {
    length: undefined,
    isChunked: false,
    host: undefined,
    expect: undefined,
    saysClose: false,
    saysKeepAlive: false,
    saysUpgrade: false,
    hasUpgrade: false,
  };
  const { text, marks } = head;
  for (let i = 0; i < marks.length; i += 4) {
    const from = marks[i] as number;
    const to = marks[i + 1] as number;
    switch (to - from) {
      case 4:
        if (equalsLower(text, from, to, "host")) readHost(controls, head.value(i));
        break;
      case 6:
        if (equalsLower(text, from, to, "expect")) readExpect(controls, head.value(i));
        break;
      case 7:
        if (equalsLower(text, from, to, "upgrade")) controls.hasUpgrade = true;
        break;
      case 10:
        if (equalsLower(text, from, to, "connection")) readConnection(controls, head.value(i));
        break;
      case 14:
        if (equalsLower(text, from, to, "content-length")) readLength(controls, head, i);
        break;
      case 17:
        if (equalsLower(text, from, to, "transfer-encoding")) readCoding(controls, head.value(i));
        break;
    }
  }
  if (controls.isChunked && controls.length !== undefined) {
    throw new HttpParseError("both Content-Length and Transfer-Encoding");
  }
  return controls;
}

function readHost(controls: Controls, value: string): void {
  if (controls.host !== undefined) throw new HttpParseError("several Host lines");
  controls.host = value;
}

function readExpect(controls: Controls, value: string): void {
  if (controls.expect !== undefined) throw new HttpParseError("several Expect lines");
  controls.expect = value.toLowerCase();
}

function readConnection(controls: Controls, value: string): void {
  if (value === "keep-alive") {
    controls.saysKeepAlive = true;
    return;
  }
  for (const option of value.toLowerCase().split(listSeparator)) {
    if (option === "close") controls.saysClose = true;
    else if (option === "keep-alive") controls.saysKeepAlive = true;
    else if (option === "upgrade") controls.saysUpgrade = true;
  }
}

// Equal duplicates are refused too: raw headers are passed on, and the next hop may choose differently.
function readLength(controls: Controls, { text, marks }: MessageHead, index: number): void {
  if (controls.length !== undefined) throw new HttpParseError("several Content-Length lines");
  const from = marks[index + 2] as number;
  const to = marks[index + 3] as number;
  if (to === from || to - from > lengthDigitsMax) throw new HttpParseError("invalid Content-Length");
  let length = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) throw new HttpParseError("invalid Content-Length");
    length = length * 10 + digit;
  }
  controls.length = length;
}

// Not trim(): it takes more for white space than HTTP does, and "\xa0chunked" is not "chunked".
const listSeparator = /[ \t]*,[ \t]*/;

function readCoding(controls: Controls, value: string): void {
  if (controls.isChunked) throw new HttpParseError("several Transfer-Encoding lines");
  if (equalsLower(value, 0, value.length, "chunked")) {
    controls.isChunked = true;
    return;
  }
  const codings = value.toLowerCase().split(listSeparator);
  const isChunkedLast = codings.at(-1) === "chunked";
  const isChunkedOnce = codings.filter((coding) => coding === "chunked").length === 1;
  if (!isChunkedLast || !isChunkedOnce) throw new HttpParseError("chunked is not the last transfer coding");
  throw new HttpParseError("unknown transfer coding", 501);
}

/** Body length of a request: bytes, or `CHUNKED`. */
export function requestLength(controls: Controls, minor: number): number {
  if (!controls.isChunked) return controls.length ?? 0;
  if (minor === 0) throw new HttpParseError("Transfer-Encoding in HTTP/1.0");
  return CHUNKED;
}

/** Body length of a response to `method` (RFC 9112 §6.3): bytes, `CHUNKED` or `UNTIL_CLOSE`. */
export function responseLength(controls: Controls, minor: number, method: string, status: number): number {
  if (controls.isChunked && minor === 0) throw new HttpParseError("Transfer-Encoding in HTTP/1.0");
  if (method === "HEAD" || status === 204 || status === 304) return 0;
  if (controls.isChunked) return CHUNKED;
  return controls.length ?? UNTIL_CLOSE;
}

/** Whether the connection may carry another message after this one. */
export function isPersistent(controls: Controls, minor: number): boolean {
  return !controls.saysClose && (minor === 1 || controls.saysKeepAlive);
}
