import { STATUS_CODES } from "node:http";
import { equalsLower, isToken, isUnsafeValue } from "./charset.ts";
import { InvalidMessage } from "./errors.ts";
import type { RawHeaders } from "./types.ts";

/** Fields that the connection decides about, as found among a message's own. */
export interface SentFields {
  /** The lines to send as they are, each ended by CR LF. */
  lines: string;
  length: number | undefined;
  hasHost: boolean;
  hasDate: boolean;
  /** The caller's Connection values, joined. */
  connection: string;
}

const namesMax = 512;
const knownNames = new Set<string>();

function checkName(name: string): void {
  if (knownNames.has(name)) return;
  if (!isToken(name)) throw new InvalidMessage(`invalid header name ${JSON.stringify(name)}`);
  if (knownNames.size < namesMax) knownNames.add(name);
}

/** Checks and writes out the headers of a message; framing and connection lines are taken out, not written. */
export function writeFields(headers: RawHeaders): SentFields {
  const fields: SentFields = { lines: "", length: undefined, hasHost: false, hasDate: false, connection: "" };
  let lines = "";
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string;
    checkName(name);
    if (isUnsafeValue(value)) throw new InvalidMessage(`invalid value of header ${name}`);
    if (!isHeldBack(fields, name, value)) lines += `${name}: ${value}\r\n`;
  }
  fields.lines = lines;
  return fields;
}

function isHeldBack(fields: SentFields, name: string, value: string): boolean {
  const { length } = name;
  if (length === 4) {
    if (equalsLower(name, 0, 4, "host")) fields.hasHost = true;
    else if (equalsLower(name, 0, 4, "date")) fields.hasDate = true;
    return false;
  }
  if (length === 10) {
    if (equalsLower(name, 0, 10, "keep-alive")) return true;
    if (!equalsLower(name, 0, 10, "connection")) return false;
    fields.connection = fields.connection === "" ? value : `${fields.connection}, ${value}`;
    return true;
  }
  if (length === 14 && equalsLower(name, 0, 14, "content-length")) {
    if (!/^\d{1,15}$/.test(value))
      throw new InvalidMessage(`invalid Content-Length ${JSON.stringify(value)}`);
    const size = Number(value);
    if (fields.length !== undefined && fields.length !== size)
      throw new InvalidMessage("Content-Length differs");
    fields.length = size;
    return true;
  }
  return length === 17 && equalsLower(name, 0, 17, "transfer-encoding");
}

/** Whether a Connection value holds `option` (lower case). */
export function hasOption(connection: string, option: string): boolean {
  if (connection === "") return false;
  return connection
    .toLowerCase()
    .split(/[ \t]*,[ \t]*/)
    .includes(option);
}

const statusLines = new Map<number, string>();

/** `HTTP/1.1 200 OK\r\n`. */
export function statusLine(status: number, reason: string | undefined): string {
  if (reason === undefined || reason === STATUS_CODES[status]) {
    const known = statusLines.get(status);
    if (known) return known;
  }
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new InvalidMessage(`invalid status ${status}`);
  }
  if (reason !== undefined && isUnsafeValue(reason)) throw new InvalidMessage("invalid reason phrase");
  const line = `HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? ""}\r\n`;
  if (reason === undefined) statusLines.set(status, line);
  return line;
}

let dateSecond = 0;
let dateText = "";

/** The Date line of this second. */
export function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return dateText;
}
