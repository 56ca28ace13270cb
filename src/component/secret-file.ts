/** Secrets by name; each a map, since a secret may have several values. */
export type Secrets = Record<string, Record<string, string>>;

export interface SecretFileOptions {
  /** Between the names of nested objects. */
  nestedSeparator: string;
  /** A top-level object is one secret of several values, instead of several secrets. */
  isMultiValued: boolean;
}

/** Turns the parsed content of a secrets file into secrets. Throws when it is not an object. */
export function secretsOf(content: unknown, { nestedSeparator, isMultiValued }: SecretFileOptions): Secrets {
  if (!isRecord(content)) throw new Error("the secrets file must hold an object of names and values");
  const secrets: Secrets = {};
  for (const [name, value] of Object.entries(content)) {
    if (isMultiValued) secrets[name] = flatten(name, value, nestedSeparator, 1);
    else
      for (const [key, text] of Object.entries(flatten(name, value, nestedSeparator, 0)))
        secrets[key] = { [key]: text };
  }
  return secrets;
}

/** `{a: {b: 1}, c: [x]}` → `a:b` and `c:0`; `skip` leaves out that many leading names. */
function flatten(name: string, value: unknown, separator: string, skip: number): Record<string, string> {
  const texts: Record<string, string> = {};
  visit([name], value);
  return texts;

  function visit(path: string[], current: unknown): void {
    if (typeof current === "object" && current !== null) {
      for (const [key, inner] of Object.entries(current)) visit([...path, key], inner);
    } else {
      const names = path.slice(Math.min(skip, path.length - 1));
      texts[names.join(separator)] = current === null || current === undefined ? "" : String(current);
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
