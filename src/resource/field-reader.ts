import { parseDuration } from "../kit/duration.ts";
import { didYouMean } from "../kit/nearest.ts";
import type { Problem } from "./problem.ts";
import type { FieldPath, YamlDocument } from "./yaml-document.ts";

export interface ReadScope {
  document: YamlDocument;
  /** `mecha daprd`: what Dapr passes over is passed over with a warning. */
  isStrict: boolean;
  problems: Problem[];
}

/**
 * Reads the fields of one object. Wrong values are reported with their place and read as their default, so that one
 * pass finds everything; `end` reports the fields that nothing asked for.
 */
export class FieldReader {
  readonly path: FieldPath;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #scope: ReadScope;
  readonly #known = new Set<string>();
  readonly #children: FieldReader[] = [];

  constructor(values: Readonly<Record<string, unknown>>, path: FieldPath, scope: ReadScope) {
    this.#values = values;
    this.path = path;
    this.#scope = scope;
  }

  get names(): string[] {
    return Object.keys(this.#values);
  }

  text(name: string, fallback = ""): string {
    const value = this.#take(name);
    if (value === undefined) return fallback;
    if (typeof value === "string") return value;
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    this.fail(`${this.#spell(name)} must be a text, got ${shown(value)}`, name);
    return fallback;
  }

  requiredText(name: string): string {
    const value = this.text(name);
    if (value === "" && !this.#hasProblemAt(name)) this.fail(`${this.#spell(name)} is missing`, name);
    return value;
  }

  oneOf<const C extends readonly string[]>(name: string, choices: C, fallback: C[number]): C[number] {
    const value = this.text(name);
    if (value === "") return fallback;
    const found = choices.find((one) => one.toLowerCase() === value.toLowerCase());
    if (found !== undefined) return found;
    this.fail(
      `${this.#spell(name)} must be one of ${choices.join(", ")}, got ${shown(value)}${didYouMean(value, choices)}`,
      name,
    );
    return fallback;
  }

  flag<T extends boolean | undefined>(name: string, fallback: T): boolean | T {
    const value = this.#take(name);
    if (value === undefined) return fallback;
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
    this.fail(`${this.#spell(name)} must be true or false, got ${shown(value)}`, name);
    return fallback;
  }

  number(name: string, fallback: number, { min = -Infinity, max = Infinity } = {}): number {
    const value = this.#take(name);
    if (value === undefined || value === "") return fallback;
    const amount = typeof value === "string" ? Number(value) : value;
    const isFine = typeof amount === "number" && amount >= min && amount <= max;
    if (isFine) return amount;
    this.fail(`${this.#spell(name)} must be a number${bounds(min, max)}, got ${shown(value)}`, name);
    return fallback;
  }

  /** Milliseconds. */
  duration<T extends number | undefined>(name: string, fallback: T): number | T {
    const value = this.text(name);
    if (value === "") return fallback;
    try {
      return parseDuration(value);
    } catch (error) {
      this.fail(`${this.#spell(name)}: ${(error as Error).message}`, name);
      return fallback;
    }
  }

  texts(name: string): string[] {
    return this.#list(name).map((value, index) => this.#textItem(name, value, index));
  }

  numbers(name: string): number[] {
    return this.#list(name).flatMap((value, index) => {
      if (typeof value === "number") return [value];
      this.fail(`${this.#spell(name)} must hold numbers, got ${shown(value)}`, name, index);
      return [];
    });
  }

  textMap(name: string): Record<string, string> {
    const object = this.object(name);
    if (!object) return {};
    return Object.fromEntries(object.names.map((key) => [key, object.text(key)]));
  }

  object(name: string): FieldReader | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    return this.#child(value, name);
  }

  /** A map of named objects. */
  objects(name: string): [name: string, object: FieldReader][] {
    const object = this.object(name);
    return (object?.names ?? []).flatMap((key) => {
      const child = object?.object(key);
      return child ? [[key, child] as [string, FieldReader]] : [];
    });
  }

  list(name: string): FieldReader[] {
    return this.#list(name).flatMap((value, index) => this.#child(value, name, index) ?? []);
  }

  raw(name: string): unknown {
    return this.#take(name);
  }

  has(name: string): boolean {
    return this.#key(name) !== undefined;
  }

  /** A field that Dapr has and mecha does not have yet. `isIdle`: what it asks for is what happens without it. */
  missing(name: string, isIdle: (value: unknown) => boolean = () => false): void {
    const value = this.#take(name);
    if (value === undefined || isIdle(value)) return;
    if (this.#scope.isStrict) this.warn(`${this.#spell(name)} is not implemented and ignored`, name);
    else this.fail(`${this.#spell(name)} is not implemented; remove it`, name);
  }

  /** Like `missing`, for what must not be passed over: an app would run with less protection than it was given. */
  refused(name: string, isIdle: (value: unknown) => boolean): void {
    const value = this.#take(name);
    if (value === undefined || isIdle(value)) return;
    this.fail(`${this.#spell(name)} is not implemented; remove it, nothing would enforce it`, name);
  }

  /** Leaves the rest of this object alone. */
  takeAll(): void {
    for (const name of this.names) this.#known.add(name);
  }

  fail(message: string, ...path: FieldPath): void {
    this.#report("error", message, path);
  }

  warn(message: string, ...path: FieldPath): void {
    this.#report("warning", message, path);
  }

  /** Reports what nobody asked for, here and below. */
  end(): void {
    const known = new Set([...this.#known].map((name) => name.toLowerCase()));
    for (const name of this.names) {
      if (known.has(name.toLowerCase())) continue;
      const message = `unknown field ${this.#spell(name)}${didYouMean(name, this.#known)}`;
      const isSpec = this.path[0] === "spec";
      if (this.#scope.isStrict || !isSpec) this.warn(`${message}; it has no effect`, name);
      else this.fail(message, name);
    }
    for (const child of this.#children) child.end();
  }

  #take(name: string): unknown {
    this.#known.add(name);
    const key = this.#key(name);
    const value = key === undefined ? undefined : this.#values[key];
    return value === null ? undefined : value;
  }

  /** Go's JSON decoding, and so Dapr, takes field names without case; the exact one goes first. */
  #key(name: string): string | undefined {
    if (Object.hasOwn(this.#values, name)) return name;
    return this.names.find((key) => key.toLowerCase() === name.toLowerCase());
  }

  #list(name: string): unknown[] {
    const value = this.#take(name);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.fail(`${this.#spell(name)} must be a list, got ${shown(value)}`, name);
    return [];
  }

  #textItem(name: string, value: unknown, index: number): string {
    if (["string", "number", "boolean"].includes(typeof value)) return String(value);
    this.fail(`${this.#spell(name)} must hold texts, got ${shown(value)}`, name, index);
    return "";
  }

  #child(value: unknown, ...path: FieldPath): FieldReader | undefined {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.fail(`${[...this.path, ...path].join(".")} must be an object, got ${shown(value)}`, ...path);
      return undefined;
    }
    const child = new FieldReader(value as Record<string, unknown>, [...this.path, ...path], this.#scope);
    this.#children.push(child);
    return child;
  }

  #hasProblemAt(name: string): boolean {
    const { line, column } = this.#scope.document.at([...this.path, name]);
    return (
      this.has(name) &&
      this.#scope.problems.some(({ source }) => source.line === line && source.column === column)
    );
  }

  #spell(name: string): string {
    return [...this.path, name].join(".");
  }

  #report(severity: Problem["severity"], message: string, path: FieldPath): void {
    const source = this.#scope.document.at([...this.path, ...path]);
    this.#scope.problems.push({ severity, message, source });
  }
}

const shownMax = 80;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > shownMax ? `${text.slice(0, shownMax)}…` : text;
}

function bounds(min: number, max: number): string {
  if (min === -Infinity && max === Infinity) return "";
  if (max === Infinity) return ` of at least ${min}`;
  return ` from ${min} to ${max}`;
}
