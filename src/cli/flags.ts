import { nearest } from "../kit/nearest.ts";

/** The flags of a command, as data: parsing, help, completion and the reference page come from one table. */
export interface Flag {
  name: string;
  short?: string;
  /** `list` may be repeated and takes commas. */
  type: "text" | "number" | "boolean" | "list";
  description: string;
  default?: string | number | boolean | readonly string[];
  /** Shown in help as the value's name. */
  placeholder?: string;
  /** Old spelling: works, is not listed. */
  hidden?: boolean;
  choices?: readonly string[];
  /** A number that also takes the word `auto`, parsed as -1: chosen by mecha. */
  takesAuto?: boolean;
}

export type FlagValue = string | number | boolean | string[];

export interface ParsedFlags {
  /** Only what was given; defaults are applied by `flag()` lookups. */
  given: Map<string, FlagValue>;
  positionals: string[];
  /** Everything after `--`; `undefined` when there was none. */
  rest: string[] | undefined;
}

/** A mistake in how the command was called: exit code 2. */
export class UsageError extends Error {
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.name = "UsageError";
    this.hint = hint;
  }
}

/**
 * Parses as pflag does: `--name value`, `--name=value`, `-name value` for long names, `-n value` for short ones,
 * booleans as `--flag`, `--flag=false`. `--` ends the flags.
 */
export function parseFlags(
  flags: readonly Flag[],
  argv: readonly string[],
  options: { stopAtPositional?: boolean } = {},
): ParsedFlags {
  const given = new Map<string, FlagValue>();
  const positionals: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] as string;
    if (word === "--") return { given, positionals, rest: argv.slice(index + 1) };
    if (!word.startsWith("-") || word === "-") {
      positionals.push(word);
      if (options.stopAtPositional)
        return { given, positionals: [...positionals, ...argv.slice(index + 1)], rest: undefined };
      continue;
    }
    const { flag, inline } = matchFlag(flags, word);
    if (flag.type === "boolean") {
      given.set(flag.name, inline === undefined ? true : parseBoolean(flag, inline));
      continue;
    }
    const text = inline ?? argv[++index];
    if (text === undefined) throw new UsageError(`flag needs an argument: --${flag.name}`);
    given.set(flag.name, parseValue(flag, text, given.get(flag.name)));
  }
  return { given, positionals, rest: undefined };
}

function matchFlag(flags: readonly Flag[], word: string): { flag: Flag; inline: string | undefined } {
  const equals = word.indexOf("=");
  const name = (equals < 0 ? word : word.slice(0, equals)).replace(/^--?/, "");
  const inline = equals < 0 ? undefined : word.slice(equals + 1);
  const flag =
    flags.find((each) => each.name === name) ??
    (word.startsWith("--") ? undefined : flags.find((each) => each.short === name));
  if (flag !== undefined) return { flag, inline };
  const near = nearest(
    name,
    flags.filter((each) => !each.hidden).map((each) => each.name),
  );
  throw new UsageError(`unknown flag: ${word}`, near === undefined ? undefined : `did you mean --${near}?`);
}

function parseBoolean(flag: Flag, text: string): boolean {
  if (/^(true|t|1)$/i.test(text)) return true;
  if (/^(false|f|0)$/i.test(text)) return false;
  throw new UsageError(`invalid argument "${text}" for --${flag.name}: not a boolean`, "use true or false");
}

function parseValue(flag: Flag, text: string, before: FlagValue | undefined): FlagValue {
  if (flag.choices !== undefined && !flag.choices.includes(text)) {
    throw new UsageError(
      `invalid argument "${text}" for --${flag.name}`,
      `one of: ${flag.choices.join(", ")}`,
    );
  }
  if (flag.type === "list") {
    const items = text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
    return [...((before as string[] | undefined) ?? []), ...items];
  }
  if (flag.type === "text") return text;
  if (flag.takesAuto && text === "auto") return -1;
  const number = Number(text);
  if (text === "" || !Number.isFinite(number)) {
    throw new UsageError(`invalid argument "${text}" for --${flag.name}: not a number`);
  }
  return number;
}

/** Typed access to what was given, falling back to the table's defaults. */
export class FlagValues {
  private readonly flags: readonly Flag[];
  private readonly given: ReadonlyMap<string, FlagValue>;
  constructor(flags: readonly Flag[], given: ReadonlyMap<string, FlagValue>) {
    this.flags = flags;
    this.given = given;
  }
  isGiven(name: string): boolean {
    return this.given.has(name);
  }
  text(name: string): string {
    return String(this.value(name) ?? "");
  }
  number(name: string): number {
    return Number(this.value(name) ?? 0);
  }
  boolean(name: string): boolean {
    return this.value(name) === true;
  }
  list(name: string): string[] {
    const value = this.value(name);
    return Array.isArray(value) ? [...value] : [];
  }
  private value(name: string): unknown {
    return this.given.get(name) ?? this.flags.find((flag) => flag.name === name)?.default;
  }
}
