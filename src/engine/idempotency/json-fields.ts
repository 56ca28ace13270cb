import { jsonItems, jsonMembers } from "../../kit/json-members.ts";

/** What the app answered is no list of effects. */
export class InvalidEffects extends Error {
  constructor(where: string, why: string) {
    super(where === "" ? why : `${where}: ${why}`);
    this.name = "InvalidEffects";
  }
}

const headerNamePattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** One byte for each character, none of which ends a line. */
export const isHeaderValue = (text: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(text);

/** The members of one JSON object, values as the text they stand there; what nobody asked for is refused. */
export class JsonFields {
  readonly #where: string;
  readonly #members: Map<string, string>;

  /** `text` has passed `JSON.parse`. */
  constructor(where: string, text: string) {
    if (!text.trimStart().startsWith("{")) throw new InvalidEffects(where, "must be an object");
    this.#where = where;
    this.#members = jsonMembers(text);
  }

  /** The JSON text of a value; `undefined` when it is absent or null. */
  raw(name: string): string | undefined {
    const text = this.#members.get(name);
    this.#members.delete(name);
    return text === "null" ? undefined : text;
  }

  text(name: string): string | undefined {
    return this.#typed<string>(name, "string", "a text");
  }

  requiredText(name: string): string {
    const value = this.text(name);
    if (value === undefined || value === "") throw this.fault(name, "is missing");
    return value;
  }

  number(name: string): number | undefined {
    return this.#typed<number>(name, "number", "a number");
  }

  flag(name: string): boolean | undefined {
    return this.#typed<boolean>(name, "boolean", "true or false");
  }

  /** A map of texts; numbers and flags are taken as text. */
  texts(name: string): Record<string, string> {
    const raw = this.raw(name);
    if (raw === undefined) return {};
    const value: unknown = JSON.parse(raw);
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw this.fault(name, "must be an object");
    const items = Object.entries(value as Record<string, unknown>);
    const odd = items.find(([, item]) => typeof item === "object");
    if (odd) throw this.fault(name, `${odd[0]} must be a text`);
    return Object.fromEntries(items.map(([key, item]) => [key, String(item)]));
  }

  /** A map of texts that HTTP can carry as header fields. */
  headers(name: string): Record<string, string> {
    const headers = this.texts(name);
    for (const [header, value] of Object.entries(headers)) {
      if (!headerNamePattern.test(header))
        throw this.fault(name, `${JSON.stringify(header)} is no name of a header`);
      if (!isHeaderValue(value))
        throw this.fault(name, `the value of ${header} has characters that no header can have`);
    }
    return headers;
  }

  object(name: string): JsonFields | undefined {
    const raw = this.raw(name);
    return raw === undefined ? undefined : new JsonFields(this.#at(name), raw);
  }

  list(name: string): JsonFields[] {
    const raw = this.raw(name);
    if (raw === undefined) return [];
    if (!raw.startsWith("[")) throw this.fault(name, "must be a list");
    return jsonItems(raw).map((item, index) => new JsonFields(`${this.#at(name)}[${index}]`, item));
  }

  end(): void {
    const [unknown] = this.#members.keys();
    if (unknown !== undefined) throw this.fault(unknown, "is not known");
  }

  fault(name: string, why: string): InvalidEffects {
    return new InvalidEffects(this.#at(name), why);
  }

  #at(name: string): string {
    return this.#where === "" ? name : `${this.#where}.${name}`;
  }

  #typed<T>(name: string, type: "string" | "number" | "boolean", what: string): T | undefined {
    const raw = this.raw(name);
    if (raw === undefined) return undefined;
    const value: unknown = JSON.parse(raw);
    if (typeof value !== type) throw this.fault(name, `must be ${what}`);
    return value as T;
  }
}
