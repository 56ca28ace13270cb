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
  /** What it takes, in words that stand behind "expected". */
  readonly allowed: string;
  /** What each of its texts looks like, where JSON Schema can tell. */
  readonly pattern: string | undefined;
  /** Throws when the text is not `allowed`. */
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
  return field("text", settings, { allowed: "a text", parse: (value) => value });
}

const numberPattern = String.raw`^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^$`;

/** A number; whole unless `fraction` is set. */
export function number<const S extends Settings<number> & Bounds & { fraction?: boolean }>(
  settings: S,
): Field<Read<S, number>> {
  const parse = (value: string): number => {
    const amount = value.trim() === "" ? Number.NaN : Number(value);
    if (!settings.fraction && !Number.isSafeInteger(amount)) throw new Error("not a whole number");
    return within(amount, settings, Number.MAX_SAFE_INTEGER);
  };
  const allowed = withRange(`a ${settings.fraction ? "" : "whole "}number`, settings, String);
  return field("number", settings, { allowed, pattern: numberPattern, parse });
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

/** `yes` in any case is `[yY][eE][sS]`: JSON Schema knows no flags. */
function inAnyCase(word: string): string {
  return word.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`);
}

const flagPattern = `^\\s*(${[...truths, ...untruths].map(inAnyCase).join("|")})\\s*$`;

export function flag<const S extends Settings<boolean>>(settings: S): Field<Read<S, boolean>> {
  return field("flag", settings, { allowed: "true or false", pattern: flagPattern, parse: parseFlag });
}

/** Longer waits are slips of the keyboard. */
const durationMaxMs = 100 * 365 * 86_400_000;
const durationPattern = String.raw`^\s*[+-]?([\d.]+(ns|us|µs|μs|ms|s|m|h|(?=\s*$)))+\s*$|^\s*[+-]?P[\dWDTHMS.,]+\s*$|^$`;

/** Milliseconds; bounds are milliseconds too. A bare number counts `bareUnitMs` (one second) each, as in Dapr. */
export function duration<const S extends Settings<number> & Bounds & { bareUnitMs?: number }>(
  settings: S,
): Field<Read<S, number>> {
  const parse = (value: string): number => {
    const isBare = /^[+-]?\d+$/.test(value.trim());
    const ms = isBare ? Number(value) * (settings.bareUnitMs ?? 1000) : parseDuration(value.trim());
    return within(ms, settings, durationMaxMs);
  };
  const allowed = withRange("a duration such as 500ms, 1h30m or PT5M", settings, formatDuration);
  return field("duration", settings, { allowed, pattern: durationPattern, parse });
}

/** A Kubernetes quantity such as `4Mi`, as a number. */
export function quantity<const S extends Settings<number> & Bounds>(settings: S): Field<Read<S, number>> {
  const parse = (value: string): number =>
    within(parseQuantity(value.trim()), settings, Number.MAX_SAFE_INTEGER);
  const allowed = withRange("a quantity such as 512Ki or 4Mi", settings, String);
  return field("quantity", settings, { allowed, parse });
}

/** One of a few words, matched without case. */
export function choice<const C extends readonly string[], const S extends Settings<C[number]>>(
  choices: C,
  settings: S,
): Field<Read<S, C[number]>> {
  const allowed = choices.length === 1 ? `${choices[0]}` : `one of ${choices.join(", ")}`;
  const parse = (value: string): C[number] => {
    const found = choices.find((one) => one.toLowerCase() === value.trim().toLowerCase());
    if (found === undefined) throw new Error(`expected ${allowed}`);
    return found;
  };
  return { ...field("choice", settings, { allowed, parse }), choices } as Field<Read<S, C[number]>>;
}

/** Some of a few words, separated by commas and matched without case; an empty text is none. */
export function several<const S extends Settings<readonly string[]>>(
  words: readonly string[],
  settings: S,
): Field<Read<S, readonly string[]>> {
  const parse = (value: string): readonly string[] => {
    const found = wordsOf(value.toLowerCase());
    if (found.some((one) => !words.includes(one))) throw new Error("another word");
    return found;
  };
  const allowed = `one or more of ${words.join(", ")}, separated by commas`;
  return field("list", settings, { allowed, parse });
}

/** Words separated by commas; blanks round them and empty ones are dropped. */
export function list<const S extends Settings<readonly string[]>>(
  settings: S,
): Field<Read<S, readonly string[]>> {
  return field("list", settings, { allowed: "words separated by commas", parse: wordsOf });
}

function wordsOf(value: string): readonly string[] {
  return value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** `a=1,b=2` or a JSON object of texts. */
export function pairs<const S extends Settings<Readonly<Record<string, string>>>>(
  settings: S,
): Field<Read<S, Readonly<Record<string, string>>>> {
  const allowed = "name=value pairs separated by commas, or a JSON object";
  return field("pairs", settings, { allowed, parse: parsePairs });
}

/** Any JSON, for the component to check. */
export function json<const S extends Settings<unknown>>(settings: S): Field<unknown> {
  return field("json", settings, { allowed: "JSON", parse: (value) => JSON.parse(value) as unknown });
}

interface Reading<T> {
  allowed: string;
  pattern?: string;
  parse: (value: string) => T;
}

function field<S extends Settings<unknown> & Bounds, T>(
  type: FieldType,
  settings: S,
  { allowed, pattern, parse }: Reading<T>,
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
    ...{ allowed, pattern },
    parse: parse as (value: string) => Read<S, T>,
  };
}

function boundsOf({ min, max }: Bounds): Bounds {
  return { ...(min !== undefined && { min }), ...(max !== undefined && { max }) };
}

/** `most`: what no amount of its kind is beyond. */
function within(amount: number, bounds: Bounds, most: number): number {
  const { min = -most, max = most } = bounds;
  if (!(amount >= min && amount <= max)) throw new Error("out of range");
  return amount;
}

function withRange(what: string, bounds: Bounds, show: (amount: number) => string): string {
  const range = rangeText(bounds, show);
  return range === "" ? what : `${what}, ${range}`;
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
      if (at < 1) throw new Error("not a pair");
      return [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
    }),
  );
}
