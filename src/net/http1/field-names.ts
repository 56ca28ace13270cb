import { isToken } from "./charset.ts";
import { InvalidMessage } from "./errors.ts";

const slots = 512;
const known: (string | undefined)[] = new Array(slots).fill(undefined);

/**
 * The field name at `text[from..to)`, as the same string object each time where possible: a name cut fresh from
 * every head must be hashed again for every Map and Set that is asked about it, and that is most of their price.
 */
export function nameAt(text: string, from: number, to: number): string {
  const length = to - from;
  const middle = text.charCodeAt(from + (length >> 1));
  const slot =
    (text.charCodeAt(from) * 5 + middle * 11 + text.charCodeAt(to - 1) * 31 + length) & (slots - 1);
  const name = known[slot];
  if (name !== undefined && name.length === length && text.startsWith(name, from)) return name;
  // A copy: a part of the head would keep all of the head in memory.
  const learned = Buffer.from(text.substring(from, to), "latin1").toString("latin1");
  known[slot] = learned;
  return learned;
}

/** What the writer of a head does with a field of this name. */
export type FieldKind = "plain" | "host" | "date" | "connection" | "content-length" | "dropped";

export interface OutgoingName {
  /** With its colon. */
  prefix: string;
  kind: FieldKind;
}

const kinds: Record<string, FieldKind> = {
  host: "host",
  date: "date",
  connection: "connection",
  "keep-alive": "dropped",
  "content-length": "content-length",
  "transfer-encoding": "dropped",
};

const outgoingMax = 1_024;
const outgoing = new Map<string, OutgoingName>();

/** Checks a name that is to be sent, once for each spelling. */
export function outgoingName(name: string): OutgoingName {
  const checked = outgoing.get(name);
  if (checked) return checked;
  if (!isToken(name)) throw new InvalidMessage(`invalid header name ${JSON.stringify(name)}`);
  const lowerName = name.toLowerCase();
  const kind = Object.hasOwn(kinds, lowerName) ? (kinds[lowerName] as FieldKind) : "plain";
  const learned: OutgoingName = { prefix: `${name}: `, kind };
  if (outgoing.size < outgoingMax) outgoing.set(name, learned);
  return learned;
}
