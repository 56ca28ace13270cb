// The syntax tree of a source file, and what the generators want to read from it.
import { readFileSync } from "node:fs";
import { parseSync } from "oxc-parser";

export interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

export function parseFile(path: string): Node {
  const parsed = parseSync(path, readFileSync(path, "utf8"));
  if (parsed.errors.length > 0) throw new Error(`${path}: ${parsed.errors[0]?.message}`);
  return parsed.program as unknown as Node;
}

export function visit(node: Node, see: (node: Node) => void): void {
  see(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, see);
  }
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

/** What a file imports as values, as it is written. */
export function importsOf(tree: Node): string[] {
  const found: string[] = [];
  visit(tree, (node) => {
    if (!/^(Import(Declaration|Expression)|Export(Named|All)Declaration)$/.test(node.type)) return;
    const source = node.source as Node | null | undefined;
    if (node.importKind !== "type" && typeof source?.value === "string") found.push(source.value);
  });
  return found;
}

/** Each text below a node, the fixed parts of templates included. */
export function textsIn(node: Node): string[] {
  const found: string[] = [];
  visit(node, (one) => {
    if (one.type === "Literal" && typeof one.value === "string") found.push(one.value);
    if (one.type === "TemplateElement") found.push((one.value as { cooked: string }).cooked);
  });
  return found;
}
