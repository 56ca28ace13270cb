import type { ScheduleSpec } from "../../resource/resource.ts";
import type { Plan, Progress } from "../jobs/plan.ts";
import type { PutMutation, Store } from "../store/store.ts";

/** A schedule as the store keeps it: what was asked for, how far it is, how its last run ended. */
export interface ScheduleRecord {
  spec: ScheduleSpec;
  plan: Plan;
  /** Absent: no occurrence is due; it is over, or its run has to end first. */
  progress?: Progress | undefined;
  last?: LastRun | undefined;
}

export interface LastRun {
  occurrenceMs: number;
  endedAtMs: number;
  result: "delivered" | "failed";
  reason?: string;
}

export interface StoredSchedule extends ScheduleRecord {
  etag: string;
}

const space = "schedules";

/** The key of a schedule, and the space of its timers: that of its next occurrence and those of its runs. */
export function scheduleKey(namespace: string, name: string): string {
  return `${encodeURIComponent(namespace || "default")}:${encodeURIComponent(name)}`;
}

export function timersOf(key: string): string {
  return `schedule:${key}`;
}

export async function readSchedule(
  store: Pick<Store, "get">,
  key: string,
): Promise<StoredSchedule | undefined> {
  const entry = await store.get(space, key);
  if (entry === undefined) return undefined;
  return { ...(JSON.parse(Buffer.from(entry.value).toString("utf8")) as ScheduleRecord), etag: entry.etag };
}

/** Replaces exactly the record that was read, or makes one where there was none. */
export function putSchedule(key: string, record: ScheduleRecord, etag: string | undefined): PutMutation {
  const { spec, plan, progress, last } = record;
  const value = Buffer.from(JSON.stringify({ spec, plan, progress, last }));
  const put: PutMutation = { kind: "put", space, key, value };
  return etag === undefined ? { ...put, ifAbsent: true } : { ...put, etag };
}

export function deleteSchedule(key: string, etag: string) {
  return { kind: "delete" as const, space, key, etag };
}
