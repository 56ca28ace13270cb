import { createHash } from "node:crypto";

/** A key as it was given: a text, or nothing when there is none. */
export type KeyOf = (variables: Record<string, unknown>) => string | undefined;

/** Longer keys are no keys. */
export const keyLengthMax = 1024;

/** Compiles the expressions of a key; CEL is loaded only when there are any. */
export async function compileKey(expressions: readonly string[]): Promise<KeyOf> {
  const { compileExpression } = await import("./cel-expression.ts");
  const parts = expressions.map(compileExpression);
  return (variables) => {
    const values = parts.map((part) => part(variables));
    if (values.some((value) => value === undefined || value === "")) return undefined;
    return JSON.stringify(values);
  };
}

/** The name of a record: of one length, whatever the parts are. */
export function recordKey(parts: readonly string[]): string {
  return digest(JSON.stringify(parts));
}

/** What an expression sees of bytes: their JSON, or null. */
export function jsonOf(given: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof given === "string" ? given : Buffer.from(given).toString("utf8"));
  } catch {
    return null;
  }
}

export function digest(...pieces: (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece).update("\n");
  return hash.digest("base64url");
}
