import { isUtf8 } from "node:buffer";
import { jsonMembers } from "../../kit/json-members.ts";
import { formatTraceparent } from "../../telemetry/propagation.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import { binaryType, isBinaryType, isCloudEventType, isJsonType } from "./content-type.ts";

/** Everything an envelope is made of besides the defaults (dapr-api.md §6.1). */
export interface EnvelopeParts {
  data: Uint8Array;
  contentType: string;
  topic: string;
  pubsubName: string;
  /** The publishing app. */
  source: string;
  newId: () => string;
  nowMs: number;
  trace: SpanContext | undefined;
  baggage: string | undefined;
  /** Set when the component cannot expire messages by itself. */
  expiresAtMs: number | undefined;
  metadata: Record<string, string>;
}

/** The body cannot become a CloudEvent. */
export class NotACloudEvent extends Error {
  constructor(why: string, cause?: unknown) {
    super(why, { cause });
    this.name = "NotACloudEvent";
  }
}

export const defaultEventType = "com.dapr.event.sent";
export const defaultSource = "Dapr";

/**
 * Every envelope that mecha writes begins with the trace context, then baggage: delivery reads both without parsing
 * the rest (see `envelope-head.ts`).
 */
export const envelopeStart = '{"traceparent":"';

/** The envelope as it goes to the broker. Data is embedded as the bytes it came in: numbers and order survive. */
export function sealEnvelope(parts: EnvelopeParts): Uint8Array {
  return isCloudEventType(parts.contentType) ? completeEvent(parts) : wrapData(parts);
}

function wrapData(parts: EnvelopeParts): Uint8Array {
  const { contentType } = parts;
  const overrides = overridesOf(parts.metadata);
  const { traceparent, tracestate } = traceFields(parts.trace, overrides);
  let head = `${envelopeStart}${inner(traceparent)}","tracestate":${JSON.stringify(tracestate)}`;
  if (parts.baggage) head += `,"baggage":${JSON.stringify(parts.baggage)}`;
  head += `,"traceid":${JSON.stringify(traceparent)},"id":${JSON.stringify(overrides?.get("id") || parts.newId())}`;
  head += `,"source":${JSON.stringify(overrides?.get("source") || parts.source || defaultSource)}`;
  head += `,"specversion":"1.0","type":${JSON.stringify(overrides?.get("type") || defaultEventType)}`;
  head += `,"datacontenttype":${JSON.stringify(contentType || "text/plain")}`;
  head += `,"pubsubname":${JSON.stringify(parts.pubsubName)},"topic":${JSON.stringify(parts.topic)}`;
  head += `,"time":${JSON.stringify(overrides?.get("time") || secondsText(parts.nowMs))}`;
  const subject = overrides?.get("subject");
  if (subject) head += `,"subject":${JSON.stringify(subject)}`;
  if (parts.expiresAtMs !== undefined) head += `,"expiration":"${secondsText(parts.expiresAtMs)}"`;
  return appendData(head, parts.data, contentType);
}

/** What a consumer of raw payloads gets: the sidecar knows nothing but the bytes. */
export function wrapRaw(options: {
  data: Uint8Array;
  topic: string;
  pubsubName: string;
  id: string;
  metadata: Record<string, string>;
}): Uint8Array {
  const { metadata } = options;
  const traceparent = metadata.traceparent ?? metadata.traceid ?? "";
  let head = `${envelopeStart}${inner(traceparent)}","tracestate":${JSON.stringify(metadata.tracestate ?? "")}`;
  if (metadata.baggage) head += `,"baggage":${JSON.stringify(metadata.baggage)}`;
  head += `,"traceid":${JSON.stringify(traceparent)},"id":"${options.id}","source":"${defaultSource}"`;
  head += `,"specversion":"1.0","type":"${defaultEventType}","datacontenttype":"${binaryType}"`;
  head += `,"pubsubname":${JSON.stringify(options.pubsubName)},"topic":${JSON.stringify(options.topic)}`;
  return base64Data(head, options.data);
}

/** JSON stays JSON, text becomes a string; bytes that are neither keep their exact form as base64. */
function appendData(head: string, data: Uint8Array, contentType: string): Uint8Array {
  if (isBinaryType(contentType) || !isUtf8(data)) return base64Data(head, data);
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const text = bytes.toString("utf8");
  if (isJsonType(contentType) && isJson(text)) return joined(`${head},"data":`, bytes);
  return Buffer.from(`${head},"data":${JSON.stringify(text)}}`);
}

function base64Data(head: string, data: Uint8Array): Uint8Array {
  const base64 = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  return Buffer.from(`${head},"data_base64":"${base64}"}`);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function joined(head: string, data: Uint8Array): Uint8Array {
  const headBytes = Buffer.from(head);
  const whole = Buffer.allocUnsafe(headBytes.length + data.length + 1);
  whole.set(headBytes, 0);
  whole.set(data, headBytes.length);
  whole[whole.length - 1] = 125;
  return whole;
}

/** The app sent a CloudEvent: its members stay as they are, what is missing is filled in. */
function completeEvent(parts: EnvelopeParts): Uint8Array {
  const members = eventMembers(parts.data);
  const overrides = overridesOf(parts.metadata);
  fillMissing(members, parts, overrides);
  for (const [name, value] of overrides ?? []) members.set(name, JSON.stringify(value));
  members.set("topic", JSON.stringify(parts.topic));
  members.set("pubsubname", JSON.stringify(parts.pubsubName));
  if (parts.expiresAtMs !== undefined) members.set("expiration", `"${secondsText(parts.expiresAtMs)}"`);
  const names = new Set(["traceparent", "tracestate", "baggage", ...members.keys()]);
  const lines: string[] = [];
  for (const name of names) {
    const value = members.get(name);
    if (value !== undefined) lines.push(`${JSON.stringify(name)}:${value}`);
  }
  return Buffer.from(`{${lines.join(",")}}`);
}

function eventMembers(data: Uint8Array): Map<string, string> {
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8");
  let event: unknown;
  try {
    event = JSON.parse(text);
  } catch (error) {
    throw new NotACloudEvent("the body is not JSON", error);
  }
  if (typeof event !== "object" || event === null || Array.isArray(event)) {
    throw new NotACloudEvent("the body is not a JSON object");
  }
  return jsonMembers(text);
}

function fillMissing(
  members: Map<string, string>,
  parts: EnvelopeParts,
  overrides: ReadonlyMap<string, string> | undefined,
): void {
  const fill = (name: string, value: string): void => {
    const present = members.get(name);
    if (present === undefined || present === "null" || present === '""')
      members.set(name, JSON.stringify(value));
  };
  fill("id", parts.newId());
  fill("source", defaultSource);
  fill("type", defaultEventType);
  fill("specversion", "1.0");
  fill("time", secondsText(parts.nowMs));
  const { traceparent, tracestate } = traceFields(parts.trace, overrides);
  fill("tracestate", members.has("traceparent") ? "" : tracestate);
  fill("traceparent", traceparent);
  fill("traceid", textOf(members.get("traceparent")));
  if (parts.baggage) fill("baggage", parts.baggage);
}

function textOf(json: string | undefined): string {
  const value: unknown = json === undefined ? "" : JSON.parse(json);
  return typeof value === "string" ? value : "";
}

const overridable = new Set([
  "id",
  "source",
  "type",
  "subject",
  "time",
  "traceid",
  "traceparent",
  "tracestate",
]);
const overridePrefix = "cloudevent.";

/** `cloudevent.<attribute>` metadata; names match without case, data and addressing cannot be overridden. */
function overridesOf(metadata: Record<string, string>): Map<string, string> | undefined {
  let overrides: Map<string, string> | undefined;
  for (const key in metadata) {
    const lower = key.toLowerCase();
    if (!lower.startsWith(overridePrefix)) continue;
    const attribute = lower.slice(overridePrefix.length);
    if (!overridable.has(attribute)) continue;
    const value = metadata[key];
    if (!value) continue;
    overrides ??= new Map();
    overrides.set(attribute, value);
  }
  linkTrace(overrides);
  return overrides;
}

/** `traceid` is the older name of `traceparent`: overriding one overrides both, the newer name wins. */
function linkTrace(overrides: Map<string, string> | undefined): void {
  const trace = overrides?.get("traceparent") ?? overrides?.get("traceid");
  if (overrides === undefined || trace === undefined) return;
  overrides.set("traceparent", trace);
  overrides.set("traceid", trace);
}

function traceFields(trace: SpanContext | undefined, overrides: ReadonlyMap<string, string> | undefined) {
  const traceparent = overrides?.get("traceparent") ?? (trace === undefined ? "" : formatTraceparent(trace));
  const tracestate = overrides?.get("tracestate") ?? trace?.traceState ?? "";
  return { traceparent, tracestate };
}

/** The inside of a JSON string literal. */
function inner(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59);
let lastSecond = -1;
let lastText = "";

/** RFC 3339 in UTC with second precision. */
function secondsText(atMs: number): string {
  const second = Math.floor(Math.min(atMs, latestMs) / 1000);
  if (second !== lastSecond) {
    lastText = `${new Date(second * 1000).toISOString().slice(0, 19)}Z`;
    lastSecond = second;
  }
  return lastText;
}
