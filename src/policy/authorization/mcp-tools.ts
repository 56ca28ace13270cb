import { JsonCursor } from "../../kit/json-cursor.ts";

const calling = "tools/call";

/**
 * The tools that a message of the Model Context Protocol calls, or several in a batch. `undefined`: nobody can say, since it
 * is no JSON-RPC, or readers may differ in what it says (a member that is there twice, or in other letters).
 */
export function mcpToolsOf(body: Uint8Array): readonly string[] | undefined {
  if (body.byteLength === 0) return [];
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
    const parsed: unknown = JSON.parse(text);
    const cursor = new JsonCursor(text);
    if (!Array.isArray(parsed)) return toolsIn(cursor);
    const all: string[] = [];
    cursor.array(() => all.push(...toolsIn(cursor)));
    return all;
  } catch {
    return undefined;
  }
}

class Unclear extends Error {}

function toolsIn(cursor: JsonCursor): string[] {
  const message = members(cursor.value(), ["method", "params"]);
  const method = message.method === undefined ? "" : JSON.parse(message.method);
  if (typeof method !== "string") throw new Unclear();
  if (method !== calling) {
    if (method.trim().toLowerCase() === calling) throw new Unclear();
    return [];
  }
  const { name } = members(message.params ?? "", ["name"]);
  const tool: unknown = JSON.parse(name ?? "");
  if (typeof tool !== "string") throw new Unclear();
  return [tool];
}

/** Some members of an object, each as it stands there. */
function members<const N extends string>(text: string, names: readonly N[]): Partial<Record<N, string>> {
  const cursor = new JsonCursor(text);
  if (!cursor.isObject) throw new Unclear();
  const found: Partial<Record<N, string>> = {};
  cursor.object((name) => {
    const value = cursor.value();
    const wanted = names.find((one) => one === name.toLowerCase());
    if (wanted === undefined) return;
    if (wanted !== name || found[wanted] !== undefined) throw new Unclear();
    found[wanted] = value;
  });
  return found;
}
