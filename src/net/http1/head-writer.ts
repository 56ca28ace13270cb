import { STATUS_CODES } from "node:http";
import { isUnsafeValue } from "./charset.ts";
import { InvalidMessage } from "./errors.ts";
import { type FieldKind, outgoingName } from "./field-names.ts";
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

/** Checks and writes out the headers of a message; framing and connection lines are taken out, not written. */
export function writeFields(headers: RawHeaders): SentFields {
  const fields: SentFields = { lines: "", length: undefined, hasHost: false, hasDate: false, connection: "" };
  let lines = "";
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1] as string;
    const { prefix, kind } = outgoingName(headers[i] as string);
    if (isUnsafeValue(value)) throw new InvalidMessage(`invalid value of header ${headers[i]}`);
    if (kind === "plain" || isSent(fields, kind, value)) lines += `${prefix}${value}\r\n`;
  }
  fields.lines = lines;
  return fields;
}

/** Notes what a special field says; answers whether its line is sent as it is. */
function isSent(fields: SentFields, kind: FieldKind, value: string): boolean {
  switch (kind) {
    case "host":
      fields.hasHost = true;
      return true;
    case "date":
      fields.hasDate = true;
      return true;
    case "connection":
      fields.connection = fields.connection === "" ? value : `${fields.connection}, ${value}`;
      return false;
    case "content-length":
      noteLength(fields, value);
      return false;
    default:
      return false;
  }
}

function noteLength(fields: SentFields, value: string): void {
  if (!/^\d{1,15}$/.test(value)) throw new InvalidMessage(`invalid Content-Length ${JSON.stringify(value)}`);
  const size = Number(value);
  const isOther = fields.length !== undefined && fields.length !== size;
  if (isOther) throw new InvalidMessage("Content-Length differs");
  fields.length = size;
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
