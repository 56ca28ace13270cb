import { CHUNKED, UNTIL_CLOSE } from "./controls.ts";
import { InvalidMessage } from "./errors.ts";
import { dateLine, hasOption, type SentFields, statusLine, writeFields } from "./head-writer.ts";
import type { HttpReply } from "./types.ts";

/** What a reply's head depends on besides the reply. */
export interface ReplyContext {
  method: string;
  minor: number;
  closes: boolean;
  sendsDate: boolean;
}

export interface ReplyHead {
  text: string;
  /** Whether body bytes follow: not for HEAD, 204 and 304. */
  hasBody: boolean;
  /** Framing of a streamed body: bytes, `CHUNKED` or `UNTIL_CLOSE`. */
  length: number;
  closes: boolean;
}

/** Writes a reply's head for a body of `size` bytes, or a streamed one when `undefined`. */
export function replyHead(reply: HttpReply, size: number | undefined, context: ReplyContext): ReplyHead {
  const { status } = reply;
  if (status < 200 && status !== 101) throw new InvalidMessage(`status ${status} is not final`);
  const fields = reply.isRepeated ? repeatedFields(reply) : writeFields(reply.headers);
  const isHead = context.method === "HEAD";
  const hasBody = !isHead && status !== 204 && status !== 304 && status !== 101;
  const length = hasBody ? (size ?? streamLength(fields, context.minor)) : 0;
  const closes = context.closes || length === UNTIL_CLOSE || hasOption(fields.connection, "close");
  let text = statusLine(status, reply.reason) + fields.lines;
  if (context.sendsDate && !fields.hasDate) text += dateLine();
  if (hasBody) text += framingLine(length);
  else if (isHead || status === 304) text += bodilessLine(reply, size, fields);
  text += connectionLine(status, fields, closes, context.minor);
  return { text: `${text}\r\n`, hasBody, length, closes };
}

const repeated = new WeakMap<HttpReply, SentFields>();

function repeatedFields(reply: HttpReply): SentFields {
  let fields = repeated.get(reply);
  if (fields === undefined) {
    fields = writeFields(reply.headers);
    repeated.set(reply, fields);
  }
  return fields;
}

function streamLength(fields: SentFields, minor: number): number {
  return fields.length ?? (minor === 0 ? UNTIL_CLOSE : CHUNKED);
}

function framingLine(length: number): string {
  if (length === CHUNKED) return "Transfer-Encoding: chunked\r\n";
  return length === UNTIL_CLOSE ? "" : `Content-Length: ${length}\r\n`;
}

/** HEAD and 304 may tell the length of the body they leave out. */
function bodilessLine(reply: HttpReply, size: number | undefined, fields: SentFields): string {
  const told = fields.length ?? (reply.body === undefined || reply.status === 304 ? undefined : size);
  return told === undefined ? "" : `Content-Length: ${told}\r\n`;
}

function connectionLine(status: number, fields: SentFields, closes: boolean, minor: number): string {
  if (status === 101) return `Connection: ${fields.connection === "" ? "Upgrade" : fields.connection}\r\n`;
  if (closes) return "Connection: close\r\n";
  return minor === 0 ? "Connection: keep-alive\r\n" : "";
}
