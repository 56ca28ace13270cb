import { parseDestination } from "./call-target.ts";
import { InvalidEffects, isHeaderValue, JsonFields } from "./json-fields.ts";

/** What a handler wants to happen (docs/guide/idempotency.md). JSON values are the texts they were written as. */
export interface Effects {
  state: StateEffect[];
  publish: PublishEffect[];
  schedule: ScheduleEffect[];
  call: CallEffect[];
  reply: ReplyEffect | undefined;
}

export interface StateEffect {
  op: "upsert" | "delete";
  /** Absent: the store that the Idempotency names. */
  store: string | undefined;
  key: string;
  /** JSON text; empty for a delete. */
  value: string;
  etag: string | undefined;
  isFirstWrite: boolean;
  /** `null`: never expires. */
  ttlSeconds: number | null | undefined;
}

export interface PublishEffect {
  pubsub: string;
  topic: string;
  data: Uint8Array;
  contentType: string;
  metadata: Record<string, string>;
}

export interface ScheduleEffect {
  name: string;
  schedule: string | undefined;
  dueTime: string | undefined;
  repeats: number | undefined;
  ttl: string | undefined;
  overwrite: boolean;
  /** JSON text. */
  data: string | undefined;
}

/** A call that is made after the commit, until it is answered. */
export interface CallEffect {
  id: string;
  path: string;
  method: string;
  headers: Record<string, string>;
  body: Uint8Array;
}

export interface ReplyEffect {
  status: number;
  headers: [name: string, value: string][];
  body: Uint8Array | undefined;
}

const jsonType = "application/json";
const effectsMax = 1000;
const ttlSecondsMax = 2 ** 31 - 1;
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Throws `InvalidEffects` for anything that is not understood: nothing is left out in silence. */
export function parseEffects(bytes: Uint8Array): Effects {
  const text = Buffer.from(bytes).toString("utf8");
  try {
    JSON.parse(text);
  } catch (error) {
    throw new InvalidEffects("", `the effects are no JSON: ${(error as Error).message}`);
  }
  const fields = new JsonFields("", text);
  const reply = fields.object("reply");
  const effects: Effects = {
    state: fields.list("state").map(readState),
    publish: fields.list("publish").map(readPublish),
    schedule: fields.list("schedule").map(readSchedule),
    call: fields.list("call").map(readCall),
    reply: reply && readReply(reply),
  };
  fields.end();
  const { state, publish, schedule, call } = effects;
  const count = state.length + publish.length + schedule.length + call.length;
  if (count > effectsMax) throw new InvalidEffects("", `more than ${effectsMax} effects`);
  return effects;
}

function readState(fields: JsonFields): StateEffect {
  const op = fields.text("op") ?? "upsert";
  if (op !== "upsert" && op !== "delete") throw fields.fault("op", "must be upsert or delete");
  const value = fields.raw("value");
  if (op === "upsert" && value === undefined) throw fields.fault("value", "is missing");
  const concurrency = fields.text("concurrency") ?? "last-write";
  if (concurrency !== "first-write" && concurrency !== "last-write")
    throw fields.fault("concurrency", "must be first-write or last-write");
  const effect: StateEffect = {
    op,
    store: fields.text("store"),
    key: fields.requiredText("key"),
    value: value ?? "",
    etag: fields.text("etag"),
    isFirstWrite: concurrency === "first-write",
    ttlSeconds: readTtl(fields),
  };
  fields.end();
  return effect;
}

/** As in the state API: 0 and -1 take an expiry away. */
function readTtl(fields: JsonFields): number | null | undefined {
  const seconds = fields.number("ttlInSeconds");
  if (seconds === undefined) return undefined;
  if (!(Number.isInteger(seconds) && seconds >= -1 && seconds <= ttlSecondsMax))
    throw fields.fault("ttlInSeconds", `must be a whole number from -1 to ${ttlSecondsMax}`);
  return seconds <= 0 ? null : seconds;
}

function readPublish(fields: JsonFields): PublishEffect {
  const contentType = fields.text("contentType") ?? jsonType;
  if (!isHeaderValue(contentType)) throw fields.fault("contentType", "must be like application/json");
  const metadata = fields.texts("metadata");
  const key = fields.text("key");
  if (key !== undefined) metadata.partitionKey = key;
  const effect: PublishEffect = {
    pubsub: fields.text("pubsub") ?? "pubsub",
    topic: fields.requiredText("topic"),
    data: bytesOf(fields.raw("data"), contentType),
    contentType,
    metadata,
  };
  fields.end();
  return effect;
}

function readSchedule(fields: JsonFields): ScheduleEffect {
  const effect: ScheduleEffect = {
    name: fields.requiredText("name"),
    schedule: fields.text("schedule"),
    dueTime: fields.text("dueTime"),
    repeats: fields.number("repeats"),
    ttl: fields.text("ttl"),
    overwrite: fields.flag("overwrite") ?? true,
    data: fields.raw("data"),
  };
  fields.end();
  return effect;
}

function readCall(fields: JsonFields): CallEffect {
  const { id, path } = parseDestination(fields.requiredText("to"), (why) => fields.fault("to", why));
  const headers = fields.headers("headers");
  const raw = fields.raw("body");
  const contentType = headerOf(headers, "content-type");
  if (contentType === undefined && raw !== undefined) headers["Content-Type"] = jsonType;
  const method = (fields.text("method") ?? "POST").toUpperCase();
  if (!methods.includes(method)) throw fields.fault("method", `must be one of ${methods.join(", ")}`);
  fields.end();
  return { id, path, method, headers, body: bytesOf(raw, contentType ?? jsonType) };
}

function readReply(fields: JsonFields): ReplyEffect {
  const status = fields.number("status");
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status <= 599))
    throw fields.fault("status", "must be a status from 200 to 599");
  const headers = fields.headers("headers");
  const raw = fields.raw("body");
  const contentType = headerOf(headers, "content-type");
  if (contentType === undefined && raw !== undefined) headers["Content-Type"] = jsonType;
  fields.end();
  const body = raw === undefined ? undefined : bytesOf(raw, contentType ?? jsonType);
  return { status: status ?? (raw === undefined ? 204 : 200), headers: Object.entries(headers), body };
}

/** JSON stays the text it is; for other types a string stands for itself. */
function bytesOf(raw: string | undefined, contentType: string): Uint8Array {
  if (raw === undefined) return new Uint8Array(0);
  const isJson = /[/+]json\b/i.test(contentType);
  return Buffer.from(!isJson && raw.startsWith('"') ? (JSON.parse(raw) as string) : raw);
}

function headerOf(headers: Record<string, string>, lowerName: string): string | undefined {
  const name = Object.keys(headers).find((one) => one.toLowerCase() === lowerName);
  return name === undefined ? undefined : headers[name];
}
