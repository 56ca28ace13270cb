const quote = 34;
const backslash = 92;
const openBrace = 123;
const closeBrace = 125;
const openBracket = 91;
const closeBracket = 93;
const comma = 44;

/**
 * Walks a JSON text that `JSON.parse` has already accepted and cuts values out of it as they stand: `1.0`, big
 * integers and the order of keys survive, as they would not through parsing and printing.
 */
export class JsonCursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isArray(): boolean {
    return this.#peek() === openBracket;
  }

  get isObject(): boolean {
    return this.#peek() === openBrace;
  }

  /** Calls `visit` at each element; it has to consume the element. */
  array(visit: () => void): void {
    this.#peek();
    this.#at++;
    while (this.#peek() !== closeBracket) {
      visit();
      if (this.#peek() === comma) this.#at++;
    }
    this.#at++;
  }

  /** Calls `visit` at each member's value; it has to consume the value. */
  object(visit: (name: string) => void): void {
    this.#peek();
    this.#at++;
    while (this.#peek() !== closeBrace) {
      const name = this.#name();
      this.#peek();
      this.#at++;
      visit(name);
      if (this.#peek() === comma) this.#at++;
    }
    this.#at++;
  }

  /** Consumes a value and returns its text. */
  value(): string {
    this.#peek();
    const from = this.#at;
    this.skip();
    return this.#text.slice(from, this.#at);
  }

  /** Consumes a value. */
  skip(): void {
    const first = this.#peek();
    if (first === quote) this.#skipString();
    else if (first === openBrace || first === openBracket) this.#skipNested();
    else this.#skipScalar();
  }

  #name(): string {
    const from = this.#at;
    this.#skipString();
    const raw = this.#text.slice(from + 1, this.#at - 1);
    return raw.includes("\\") ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  #peek(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (code === 32 || (code >= 9 && code <= 13)) code = this.#text.charCodeAt(++this.#at);
    return code;
  }

  #skipString(): void {
    const text = this.#text;
    let end = text.indexOf('"', this.#at + 1);
    while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
    this.#at = end + 1;
  }

  #skipNested(): void {
    let depth = 0;
    do {
      const code = this.#text.charCodeAt(this.#at);
      if (code === quote) {
        this.#skipString();
        continue;
      }
      if (code === openBrace || code === openBracket) depth++;
      else if (code === closeBrace || code === closeBracket) depth--;
      this.#at++;
    } while (depth > 0);
  }

  #skipScalar(): void {
    let code = this.#text.charCodeAt(this.#at);
    while (code > 32 && code !== comma && code !== closeBrace && code !== closeBracket) {
      code = this.#text.charCodeAt(++this.#at);
    }
  }
}

function isEscaped(text: string, quoteAt: number): boolean {
  let from = quoteAt - 1;
  while (text.charCodeAt(from) === backslash) from--;
  return (quoteAt - 1 - from) % 2 === 1;
}
