import { Cron } from "croner";
import { type Period, parseDuration, parseGoDuration, parseIsoPeriod } from "../../kit/duration.ts";

/** When something that repeats is due. */
export interface Schedule {
  /**
   * The first occurrence after `afterMs`. `lastMs` is the occurrence before, or the moment the job was made: intervals
   * keep to its grid. `undefined`: never again.
   */
  next(afterMs: number, lastMs: number): number | undefined;
}

/** A text that is no schedule, time or duration; `message` says why. */
export class ScheduleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ScheduleError";
  }
}

const macros: Record<string, string> = {
  "@yearly": "0 0 0 1 1 *",
  "@annually": "0 0 0 1 1 *",
  "@monthly": "0 0 0 1 * *",
  "@weekly": "0 0 0 * * 0",
  "@daily": "0 0 0 * * *",
  "@midnight": "0 0 0 * * *",
  "@hourly": "0 0 * * * *",
};

const shortestIntervalMs = 1;
/** Parsed cron texts are kept: jobs by the million mostly share a few. */
const knownMax = 1000;
const known = new Map<string, Schedule>();

/**
 * Cron of six fields (seconds first), `@every <duration>` or a macro like `@daily`, with a time zone before it when it
 * says `TZ=…`; without one it is UTC. Throws `ScheduleError`.
 */
export function parseSchedule(text: string): Schedule {
  const found = known.get(text);
  if (found !== undefined) return found;
  const schedule = readSchedule(text);
  if (known.size >= knownMax) known.clear();
  known.set(text, schedule);
  return schedule;
}

/** Every so many milliseconds, on the grid of the occurrence before. */
export function every(intervalMs: number): Schedule {
  return {
    next(afterMs, lastMs) {
      const steps = Math.max(1, Math.floor((afterMs - lastMs) / intervalMs) + 1);
      return lastMs + steps * intervalMs;
    },
  };
}

function readSchedule(text: string): Schedule {
  const { zone, rest } = splitZone(text);
  if (rest.startsWith("@every ")) return every(intervalOf(rest.slice("@every ".length).trim()));
  const pattern = rest.startsWith("@") ? macros[rest.toLowerCase()] : rest;
  if (pattern === undefined) throw new ScheduleError(`unrecognized descriptor: ${rest}`);
  const fields = pattern.split(/\s+/).length;
  if (fields !== 6) throw new ScheduleError(`expected exactly 6 fields, found ${fields}: [${rest}]`);
  try {
    // Times without a `*` are those of a day: each of them comes once a day, whatever the clocks of the zone do.
    const cron = new Cron(pattern, {
      timezone: zone,
      mode: "6-part",
      fixedTimeRule: "no-wildcard",
      paused: true,
    });
    // A zone that does not exist shows when it is used.
    cron.nextRun(new Date(0));
    return { next: (afterMs) => cron.nextRun(new Date(afterMs))?.getTime() };
  } catch (error) {
    throw new ScheduleError((error as Error).message.replace(/^CronPattern: /, ""));
  }
}

function splitZone(text: string): { zone: string; rest: string } {
  const match = /^(?:CRON_)?TZ=(\S+)\s+(.*)$/s.exec(text.trim());
  return match
    ? { zone: match[1] ?? "UTC", rest: (match[2] ?? "").trim() }
    : { zone: "UTC", rest: text.trim() };
}

function intervalOf(text: string): number {
  const intervalMs = guarded(() => parseGoDuration(text));
  if (intervalMs < shortestIntervalMs)
    throw new ScheduleError(`@every needs a duration of at least 1ms: ${text}`);
  return intervalMs;
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** A moment as RFC 3339, or as a Go or ISO 8601 duration from `fromMs` on. Throws `ScheduleError`. */
export function parseMoment(text: string, fromMs: number): number {
  if (rfc3339.test(text)) {
    const at = Date.parse(text);
    if (Number.isNaN(at)) throw new ScheduleError(`unsupported time/duration format: ${text}`);
    return at;
  }
  if (/^P/.test(text))
    return addPeriod(
      fromMs,
      guarded(() => parseIsoPeriod(text)),
    );
  return fromMs + guarded(() => parseDuration(text), `unsupported time/duration format: ${text}`);
}

/** How often and how far apart: `R5/PT10S`, `PT10S` or `10s`. */
export function parsePeriod(text: string): { intervalMs: number; repeats: number | undefined } {
  const match = /^R(\d+)(?:\/(.*))?$/s.exec(text);
  const repeats = match ? Number(match[1]) : undefined;
  if (repeats === 0) throw new ScheduleError(`repetition count must not be zero: ${text}`);
  const rest = match ? (match[2] ?? "") : text;
  if (rest === "") return { intervalMs: 0, repeats };
  if (!rest.startsWith("P")) return { intervalMs: guarded(() => parseGoDuration(rest)), repeats };
  const { years, months, days, timeMs } = guarded(() => parseIsoPeriod(rest));
  if (years > 0 || months > 0 || days > 0) {
    throw new ScheduleError(`years, months and days are not supported in a period: ${text}`);
  }
  return { intervalMs: timeMs, repeats };
}

/** The calendar counts in UTC; a day that a month lacks runs over into the next one (31 January + P1M = 3 March). */
function addPeriod(fromMs: number, { years, months, days, timeMs }: Period): number {
  const date = new Date(fromMs);
  const at = Date.UTC(
    date.getUTCFullYear() + years,
    date.getUTCMonth() + months,
    date.getUTCDate() + days,
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    date.getUTCMilliseconds(),
  );
  return at + timeMs;
}

function guarded<T>(read: () => T, message?: string): T {
  try {
    return read();
  } catch (error) {
    throw new ScheduleError(message ?? (error as Error).message);
  }
}
