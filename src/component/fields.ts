import { formatDuration, parseDuration } from "../kit/duration.ts";
import { parseQuantity } from "../kit/quantity.ts";

/** The metadata fields of a component by their documented names. */
export type Fields = Record<string, Field<unknown>>;

/** One metadata field: how its text is read, and what the reference page, the JSON Schema and redaction say of it. */
export interface Field<T> {
  readonly type: FieldType;
  readonly description: string;
  readonly isRequired: boolean;
  /** What `open` gets when the field is absent. */
  readonly default: T | undefined;
  /** Its value is never logged and never shown. */
  readonly isSensitive: boolean;
  /** Other names, all matched without case. */
  readonly aliases: readonly string[];
  /** The only texts allowed. */
  readonly choices: readonly string[] | undefined;
  /** Of numbers, of milliseconds. */
  readonly bounds: Bounds;
  /** Dapr has it and mecha does not: naming it is an error, with this text as the reason. */
  readonly missing: string | undefined;
  /** Throws an `Error` whose message says what was expected. */
  readonly parse: (text: string) => T;
}

export type FieldType =
  | "text"
  | "number"
  | "flag"
  | "duration"
  | "quantity"
  | "choice"
  | "list"
  | "pairs"
  | "json";

/** What `open` gets: a property per field, typed by it. */
export type Options<F extends Fields> = { [N in keyof F]: F[N] extends Field<infer T> ? T : never };

interface Settings<T> {
  description: string;
  required?: boolean;
  default?: T;
  sensitive?: boolean;
  aliases?: readonly string[];
  missing?: string;
}
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/** The value, or `undefined` unless the field is required or has a default. */
type Read<S, T> = S extends { required: true } ? T : S extends { default: T } ? T : T | undefined;

/** Any text. */
export function text<const S extends Settings<string>>(settings: S): Field<Read<S, string>> {
  return field("text", settings, (value) => value);
}

/** A number; whole unless `fraction` is set. */
export function number<const S extends Settings<number> & Bounds & { fraction?: boolean }>(
  settings: S,
): Field<Read<S, number>> {
  return field("number", settings, (value) => {
    const amount = value.trim() === "" ? Number.NaN : Number(value);
    if (!Number.isFinite(amount)) throw new Error("expected a number");
    if (!settings.fraction && !Number.isSafeInteger(amount)) throw new Error("expected a whole number");
    return within(amount, settings, String);
  });
}

const truths = new Set(["true", "t", "yes", "y", "on", "1"]);
const untruths = new Set(["false", "f", "no", "n", "off", "0", ""]);

/** Dapr's spellings of a boolean: true, t, yes, y, on, 1 in any case, and their opposites. */
export function parseFlag(value: string): boolean {
  const lower = value.trim().toLowerCase();
  if (truths.has(lower)) return true;
  if (untruths.has(lower)) return false;
  throw new Error("expected true or false");
}

export function flag<const S extends Settings<boolean>>(settings: S): Field<Read<S, boolean>> {
  return field("flag", settings, parseFlag);
}

/** Milliseconds; bounds are milliseconds too. A bare number counts `bareUnitMs` (one second) each, as in Dapr. */
export function duration<const S extends Settings<number> & Bounds & { bareUnitMs?: number }>(
  settings: S,
): Field<Read<S, number>> {
  return field("duration", settings, (value) => {
    const isBare = /^[+-]?\d+$/.test(value.trim());
    const ms = isBare ? Number(value) * (settings.bareUnitMs ?? 1000) : parseDuration(value.trim());
    return within(ms, settings, formatDuration);
  });
}

/** A Kubernetes quantity such as `4Mi`, as a number. */
export function quantity<const S extends Settings<number> & Bounds>(settings: S): Field<Read<S, number>> {
  return field("quantity", settings, (value) => within(parseQuantity(value.trim()), settings, String));
}

/** One of a few words, matched without case. */
export function choice<const C extends readonly string[], const S extends Settings<C[number]>>(
  choices: C,
  settings: S,
): Field<Read<S, C[number]>> {
  const parse = (value: string): C[number] => {
    const found = choices.find((one) => one.toLowerCase() === value.trim().toLowerCase());
    if (found === undefined) throw new Error(`expected one of ${choices.join(", ")}`);
    return found;
  };
  return { ...field("choice", settings, parse), choices } as Field<Read<S, C[number]>>;
}

/** Words separated by commas; blanks round them and empty ones are dropped. */
export function list<const S extends Settings<readonly string[]>>(
  settings: S,
): Field<Read<S, readonly string[]>> {
  return field("list", settings, (value): readonly string[] =>
    value
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
  );
}

/** `a=1,b=2` or a JSON object of texts. */
export function pairs<const S extends Settings<Readonly<Record<string, string>>>>(
  settings: S,
): Field<Read<S, Readonly<Record<string, string>>>> {
  return field("pairs", settings, parsePairs);
}

/** Any JSON, for the component to check. */
export function json<const S extends Settings<unknown>>(settings: S): Field<unknown> {
  return field("json", settings, (value) => {
    try {
      return JSON.parse(value) as unknown;
    } catch (error) {
      throw new Error("expected JSON", { cause: error });
    }
  });
}

function field<S extends Settings<unknown> & Bounds, T>(
  type: FieldType,
  settings: S,
  parse: (value: string) => T,
): Field<Read<S, T>> {
  return {
    type,
    description: settings.description,
    isRequired: settings.required ?? false,
    default: settings.default as Read<S, T> | undefined,
    isSensitive: settings.sensitive ?? false,
    aliases: settings.aliases ?? [],
    choices: undefined,
    bounds: boundsOf(settings),
    missing: settings.missing,
    parse: parse as (value: string) => Read<S, T>,
  };
}

function boundsOf({ min, max }: Bounds): Bounds {
  return { ...(min !== undefined && { min }), ...(max !== undefined && { max }) };
}

function within(amount: number, bounds: Bounds, show: (amount: number) => string): number {
  const { min = -Infinity, max = Infinity } = bounds;
  if (amount < min || amount > max) throw new Error(`expected ${rangeText(bounds, show)}`);
  return amount;
}

/** `1 to 100`, `at least 1` or `at most 100`; empty without bounds. */
export function rangeText({ min, max }: Bounds, show: (amount: number) => string): string {
  if (min !== undefined && max !== undefined) return `${show(min)} to ${show(max)}`;
  if (min !== undefined) return `at least ${show(min)}`;
  return max === undefined ? "" : `at most ${show(max)}`;
}

function parsePairs(value: string): Readonly<Record<string, string>> {
  if (value.trim().startsWith("{")) {
    const parsed = JSON.parse(value) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(parsed).map(([name, one]) => [name, String(one)]));
  }
  const entries = value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      if (at < 1) throw new Error("expected name=value pairs separated by commas");
      return [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
    }),
  );
}
