import { envelopeStart } from "./envelope.ts";

/** What delivery needs of an envelope that only passes through. */
export interface EnvelopeHead {
  traceparent: string;
  tracestate: string;
  baggage: string;
}

/** Reaches to the end of `tracestate` when that is empty and there is no baggage: nearly always. */
const shortHead = 112;
const longHead = 16 * 1024;
const plainTail = '","tracestate":"",';
const baggageName = '"baggage":';

/** Reads the beginning of an envelope that mecha wrote; `undefined` when somebody else did. */
export function readHead(bytes: Uint8Array): EnvelopeHead | undefined {
  const start = latin1(bytes, shortHead);
  if (!start.startsWith(envelopeStart)) return undefined;
  const end = start.indexOf('"', envelopeStart.length);
  if (end === -1) return undefined;
  const isPlain = start.startsWith(plainTail, end) && !start.startsWith(baggageName, end + plainTail.length);
  if (isPlain) return { traceparent: start.slice(envelopeStart.length, end), tracestate: "", baggage: "" };
  return readStrings(latin1(bytes, longHead));
}

const headPattern =
  /^\{"traceparent":"([^"\\]*)","tracestate":("(?:[^"\\]|\\.)*")(?:,"baggage":("(?:[^"\\]|\\.)*"))?[,}]/;

function readStrings(text: string): EnvelopeHead | undefined {
  const match = headPattern.exec(text);
  if (match === null) return undefined;
  const [, traceparent = "", tracestate = '""', baggage = '""'] = match;
  return { traceparent, tracestate: literal(tracestate), baggage: literal(baggage) };
}

function literal(json: string): string {
  try {
    return JSON.parse(Buffer.from(json, "latin1").toString("utf8")) as string;
  } catch {
    return "";
  }
}

function latin1(bytes: Uint8Array, lengthMax: number): string {
  const { buffer, byteOffset, byteLength } = bytes;
  return Buffer.from(buffer, byteOffset, Math.min(byteLength, lengthMax)).toString("latin1");
}
