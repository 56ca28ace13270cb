import { nowhere, readDelivery, readDestination } from "./destination.ts";
import type { FieldReader } from "./field-reader.ts";
import type { ScheduleSpec } from "./resource.ts";

const timings = ["schedule", "every", "after", "at"] as const;
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const catchUpAllMax = 1000;

/** Something that is sent at times. The cron text itself is checked by the engine, which knows cron. */
export function readSchedule(spec: FieldReader): ScheduleSpec {
  const given = timings.filter((name) => spec.has(name));
  if (given.length !== 1) {
    const got = given.length === 0 ? "none" : given.join(" and ");
    spec.fail(`spec needs exactly one of ${timings.join(", ")}, got ${got}`, given[1] ?? "schedule");
  }
  for (const name of ["jitter"]) spec.missing(name);
  return {
    ...readTiming(spec),
    ...readData(spec),
    to: readTarget(spec),
    delivery: readDelivery(spec.object("delivery")),
    concurrencyPolicy: readConcurrency(spec),
    catchUp: readCatchUp(spec),
    startingDeadlineMs: spec.duration("startingDeadline", undefined),
    suspend: spec.flag("suspend", false),
    repeats: spec.has("repeats") ? spec.number("repeats", 1, { min: 1 }) : undefined,
    ttlMs: spec.duration("ttl", undefined),
    singleton: readSingletonOf(spec),
  };
}

function readTiming(spec: FieldReader): Pick<ScheduleSpec, "schedule" | "everyMs" | "afterMs" | "atMs"> {
  const zone = spec.text("timeZone");
  const schedule = spec.text("schedule");
  if (zone !== "" && schedule === "") spec.fail("spec.timeZone goes with spec.schedule", "timeZone");
  if (zone !== "" && /^(CRON_)?TZ=/.test(schedule)) {
    spec.fail("spec.schedule begins with a time zone, and spec.timeZone is another", "timeZone");
  }
  return {
    schedule: schedule === "" ? undefined : zone === "" ? schedule : `TZ=${zone} ${schedule}`,
    everyMs: readInterval(spec, "every"),
    afterMs: readInterval(spec, "after"),
    atMs: readMoment(spec),
  };
}

function readInterval(spec: FieldReader, name: "every" | "after"): number | undefined {
  const intervalMs = spec.duration(name, undefined);
  if (intervalMs !== undefined && intervalMs < 1) spec.fail(`spec.${name} must be at least 1ms`, name);
  return intervalMs;
}

function readMoment(spec: FieldReader): number | undefined {
  const at = spec.text("at");
  if (at === "") return undefined;
  const moment = rfc3339.test(at) ? Date.parse(at) : Number.NaN;
  if (!Number.isNaN(moment)) return moment;
  spec.fail(`spec.at must be a time like 2027-01-31T08:00:00Z, got ${JSON.stringify(at)}`, "at");
  return undefined;
}

function readData(spec: FieldReader): Pick<ScheduleSpec, "data" | "contentType"> {
  const data = spec.raw("data");
  const base64 = spec.text("dataBase64");
  if (data !== undefined && base64 !== "") spec.fail("spec has both data and dataBase64", "dataBase64");
  if (base64 !== "" && Buffer.from(base64, "base64").toString("base64") !== base64) {
    spec.fail("spec.dataBase64 is not base64", "dataBase64");
  }
  const isText = typeof data === "string";
  const contentType = spec.text("contentType");
  if (base64 !== "") {
    return { data: { text: base64, isBase64: true }, contentType: contentType || "application/octet-stream" };
  }
  const text = data === undefined ? undefined : isText ? data : JSON.stringify(data);
  return {
    data: text === undefined ? undefined : { text, isBase64: false },
    contentType: contentType || (isText ? "text/plain" : "application/json"),
  };
}

function readTarget(spec: FieldReader): ScheduleSpec["to"] {
  if (!spec.has("to")) spec.fail("spec.to is missing: where to send, like app://orders/tick");
  return readDestination(spec, "to") ?? nowhere;
}

function readConcurrency(spec: FieldReader): ScheduleSpec["concurrencyPolicy"] {
  const policy = spec.oneOf("concurrencyPolicy", ["Allow", "Forbid", "Replace"], "Allow");
  if (policy !== "Replace") return policy;
  spec.fail("spec.concurrencyPolicy Replace is not implemented; Allow and Forbid are", "concurrencyPolicy");
  return "Allow";
}

/** `none`, `last`, `all` or `all: {limit: 10}`. */
function readCatchUp(spec: FieldReader): ScheduleSpec["catchUp"] {
  if (typeof spec.raw("catchUp") !== "object") {
    const kind = spec.oneOf("catchUp", ["none", "last", "all"], "last");
    return kind === "all" ? { kind, limit: 100 } : { kind };
  }
  const all = spec.object("catchUp")?.object("all");
  if (all === undefined) spec.fail("spec.catchUp must be none, last, all or {all: {limit: 10}}", "catchUp");
  return { kind: "all", limit: all?.number("limit", 100, { min: 1, max: catchUpAllMax }) ?? 100 };
}

/** `true`, or the name of a group. */
function readSingletonOf(spec: FieldReader): string | boolean {
  const value = spec.raw("singleton");
  if (value === undefined || typeof value === "boolean") return value ?? false;
  return spec.text("singleton");
}
