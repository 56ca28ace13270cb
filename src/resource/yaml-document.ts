import {
  type Alias,
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
} from "yaml";
import { expandVariables } from "./expand-variables.ts";
import type { Problem } from "./problem.ts";
import type { SourcePosition } from "./resource.ts";

export type FieldPath = readonly (string | number)[];

/** One document of a file as plain values, with the way back to the place of each. */
export interface YamlDocument {
  value: unknown;
  at(path: FieldPath): SourcePosition;
}

export interface YamlFile {
  documents: YamlDocument[];
  problems: Problem[];
}

const documentsMax = 10_000;

/** Reads a YAML file of any number of documents. Those of kind Configuration get environment variables filled in. */
export function parseYamlFile(
  file: string,
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): YamlFile {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent" });
  const all = Array.isArray(parsed) ? (parsed as Document.Parsed[]).slice(0, documentsMax) : [];
  const documents: YamlDocument[] = [];
  const problems: Problem[] = [];
  for (const document of all) {
    const position = (offset: number) => positionAt(file, lines, offset);
    if (document.errors.length > 0) {
      for (const { message, pos } of document.errors) {
        problems.push({ severity: "error", message: lowerFirst(message), source: position(pos[0]) });
      }
      continue;
    }
    if (document.get?.("kind") === "Configuration") fillIn(document, env);
    const read = toValue(document, position);
    if ("problem" in read) problems.push(read.problem);
    else if (read.value !== null && read.value !== undefined) {
      documents.push({ value: read.value, at: (path) => position(offsetOf(document, path)) });
    }
  }
  return { documents, problems };
}

function toValue(
  document: Document.Parsed,
  position: (offset: number) => SourcePosition,
): { value: unknown } | { problem: Problem } {
  const endless = endlessAlias(document);
  if (endless !== undefined) {
    const message = `*${endless.source} stands for a value that it is a part of`;
    return { problem: { severity: "error", message, source: position(startOf(endless) ?? 0) } };
  }
  try {
    return { value: document.toJS({ maxAliasCount: 100 }) as unknown };
  } catch (error) {
    // Aliases that would unfold to too much.
    const source = position(document.range[0]);
    return { problem: { severity: "error", message: (error as Error).message, source } };
  }
}

/** The values of a document are a tree. */
function endlessAlias(document: Document.Parsed): Alias | undefined {
  let found: Alias | undefined;
  visit(document, {
    Alias(_, alias, path) {
      const target = alias.resolve(document);
      if (target === undefined || !path.includes(target)) return undefined;
      found = alias;
      return visit.BREAK;
    },
  });
  return found;
}

function positionAt(file: string, lines: LineCounter, offset: number): SourcePosition {
  const { line, col } = lines.linePos(offset);
  return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Where the value of a path begins; for a path that is not there, the nearest parent that is. */
function offsetOf(document: Document.Parsed, path: FieldPath): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? document.range[0];
  for (const step of path) {
    const child = childOf(node, step);
    if (child === undefined) return offset;
    // The name of a nested block is easier to find than its first line.
    const isBlock = isMap(child.value) || isSeq(child.value);
    offset =
      (isBlock ? startOf(child.key) : undefined) ?? startOf(child.value) ?? startOf(child.key) ?? offset;
    node = child.value;
  }
  return offset;
}

function childOf(node: unknown, step: string | number): { key: unknown; value: unknown } | undefined {
  if (isSeq(node) && typeof step === "number") {
    const value = node.items[step];
    return value === undefined ? undefined : { key: undefined, value };
  }
  if (!isMap(node)) return undefined;
  const wanted = String(step);
  const spelled = (key: unknown) => String(isScalar(key) ? key.value : key);
  const pairs = node.items.filter(isPair);
  const pair =
    pairs.find(({ key }) => spelled(key) === wanted) ??
    pairs.find(({ key }) => spelled(key).toLowerCase() === wanted.toLowerCase());
  return pair && { key: pair.key, value: pair.value };
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? (node as Node).range?.[0] : undefined;
}

/** Plain scalars are read again after variables were filled in: `enabled: ${FLAG}` is a boolean. */
function fillIn(document: Document.Parsed, env: Readonly<Record<string, string | undefined>>): void {
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || typeof node.value !== "string" || !node.value.includes("$")) return;
      const text = expandVariables(node.value, env);
      node.value = node.type === "PLAIN" ? readPlain(text) : text;
    },
  });
}

function readPlain(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) ? Number(text) : text;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
