/** A text that is no duration; `message` says what would be one. */
export class DurationError extends Error {
  constructor(text: string, why = "expected one like 500ms, 1h30m or PT5M") {
    super(`invalid duration ${JSON.stringify(text)}: ${why}`);
    this.name = "DurationError";
  }
}

/** Calendar parts are kept apart: a month has no fixed length. */
export interface Period {
  years: number;
  months: number;
  days: number;
  timeMs: number;
}

const dayMs = 86_400_000;

const unitsMs: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  // Go accepts both the micro sign and the Greek letter.
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a Go (`1h30m`) or ISO 8601 (`PT1H30M`) duration. Throws `DurationError`. */
export function parseDuration(text: string): number {
  return /^[+-]?P/.test(text) ? parseIsoDuration(text) : parseGoDuration(text);
}

/** https://pkg.go.dev/time#ParseDuration */
export function parseGoDuration(text: string): number {
  const [, sign, rest = ""] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (rest === "0") return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(rest)) throw new DurationError(text);
  let totalMs = 0;
  for (const [, amount, unit = ""] of rest.matchAll(/([\d.]+)([a-zµμ]+)/g)) {
    totalMs += Number(amount) * (unitsMs[unit] ?? 0);
  }
  if (!Number.isFinite(totalMs)) throw new DurationError(text, "too long");
  return sign === "-" ? -totalMs : totalMs;
}

/** Milliseconds of an ISO 8601 duration without years and months, which have no fixed length. */
export function parseIsoDuration(text: string): number {
  const sign = text.startsWith("-") ? -1 : 1;
  const { years, months, days, timeMs } = parseIsoPeriod(text.replace(/^[+-]/, ""));
  if (years > 0 || months > 0) throw new DurationError(text, "years and months have no fixed length");
  return sign * (days * dayMs + timeMs);
}

/** `P1Y2M3DT4H5M6.7S` in its parts; weeks count as seven days. */
export function parseIsoPeriod(text: string): Period {
  const amount = String.raw`(\d+(?:[.,]\d+)?)`;
  const date = `(?:${amount}Y)?(?:${amount}M)?(?:${amount}W)?(?:${amount}D)?`;
  const time = `(?:T(?=\\d)(?:${amount}H)?(?:${amount}M)?(?:${amount}S)?)?`;
  const match = new RegExp(`^P(?=.)${date}${time}$`).exec(text);
  if (!match) throw new DurationError(text);
  const [years, months, weeks, days, hours, minutes, seconds] = match.slice(1).map(toNumber) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    years,
    months,
    days: weeks * 7 + days,
    timeMs: hours * 3_600_000 + minutes * 60_000 + seconds * 1000,
  };
}

/** As Go prints it: `1h30m0s`, `5s`, `500ms`, `0s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return "0s";
  const sign = durationMs < 0 ? "-" : "";
  const ms = Math.abs(durationMs);
  if (ms < 1e-3) return `${sign}${trim(ms * 1e6)}ns`;
  if (ms < 1) return `${sign}${trim(ms * 1e3)}µs`;
  if (ms < 1000) return `${sign}${trim(ms)}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = `${trim((ms % 60_000) / 1000)}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

function toNumber(text: string | undefined): number {
  return text === undefined ? 0 : Number(text.replace(",", "."));
}

/** Cuts the noise of binary fractions below a nanosecond. */
function trim(amount: number): string {
  return String(Number(amount.toFixed(9)));
}
