// What the tidy rules need to know about a source file, read from its syntax tree.
import { readFileSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { parseSync } from "oxc-parser";
import { isNode, type Node, visit } from "../../scripts/source-tree.ts";

export const root = resolve(import.meta.dirname, "../..");

export interface Import {
  specifier: string;
  line: number;
  /** `type`: erased; `lazy`: `import("…")`, loaded on use; `eager`: loaded with the file. */
  kind: "type" | "eager" | "lazy";
}

export interface FunctionSpan {
  line: number;
  lineCount: number;
}

export interface SourceFile {
  /** From the root, with slashes. */
  path: string;
  lineCount: number;
  imports: Import[];
  functions: FunctionSpan[];
  comments: { line: number; text: string }[];
  /** `process.env`, `test.only`, `Bun.serve`: every `name.property` in the code. */
  members: { line: number; text: string }[];
  /** Plain calls: `fetch(`. */
  calls: { line: number; text: string }[];
  /** Lines with the type `any`. */
  anyLines: number[];
}

/** Tests, what only tests use, and checks that the compiler makes. None of it is shipped. */
export function isTest(path: string): boolean {
  return /(\.test|-typecheck)\.ts$/.test(path) || /(^|\/)fixture-[^/]*\.ts$/.test(path);
}

export function readSourceFile(path: string): SourceFile {
  const text = readFileSync(join(root, path), "utf8");
  const parsed = parseSync(path, text);
  if (parsed.errors.length > 0) throw new Error(`${path}: ${parsed.errors[0]?.message}`);
  const lineOf = lineFinder(text);
  const file: SourceFile = {
    path,
    lineCount: text.split("\n").length - 1,
    imports: [],
    functions: [],
    comments: parsed.comments.map(({ start, value }) => ({ line: lineOf(start), text: value })),
    members: [],
    calls: [],
    anyLines: [],
  };
  visit(parsed.program as unknown as Node, (node) => collect(file, node, lineOf));
  return file;
}

function collect(file: SourceFile, node: Node, lineOf: (at: number) => number): void {
  const line = lineOf(node.start);
  if (node.type === "TSAnyKeyword") file.anyLines.push(line);
  if (functionTypes.has(node.type) && isNode(node.body)) {
    file.functions.push({ line, lineCount: lineOf(node.end) - line + 1 });
  }
  if (node.type === "MemberExpression") {
    const text = memberText(node);
    if (text !== undefined) file.members.push({ line, text });
  }
  if (node.type === "CallExpression" && isNode(node.callee) && node.callee.type === "Identifier") {
    file.calls.push({ line, text: String(node.callee.name) });
  }
  const found = importOf(node);
  if (found !== undefined) file.imports.push({ ...found, line });
}

const functionTypes = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

function memberText(node: Node): string | undefined {
  const object = node.object as Node | undefined;
  const property = node.property as Node | undefined;
  if (object?.type !== "Identifier" || property?.type !== "Identifier") return undefined;
  return `${String(object.name)}.${String(property.name)}`;
}

function importOf(node: Node): Omit<Import, "line"> | undefined {
  const source = node.source as Node | null | undefined;
  if (!isNode(source) || typeof source.value !== "string") return undefined;
  const specifier = source.value;
  if (node.type === "ImportExpression") return { specifier, kind: "lazy" };
  if (node.type !== "ImportDeclaration" && !node.type.startsWith("Export")) return undefined;
  const isType = node.importKind === "type" || node.exportKind === "type";
  return { specifier, kind: isType ? "type" : "eager" };
}

function lineFinder(text: string): (at: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (at) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= at) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}

/** The file in this repository that an import names, or `undefined` for a package or a built-in module. */
export function targetOf(file: SourceFile, { specifier }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return posix.normalize(posix.join(posix.dirname(file.path), specifier));
}

/** The npm package that an import names, or `undefined` for a file or a built-in module. */
export function packageOf({ specifier }: Import): string | undefined {
  if (/^(\.|node:|bun:|bun$)/.test(specifier)) return undefined;
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0];
}
