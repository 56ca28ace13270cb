import type { QueryResult, StateQuery } from "./state-store.ts";

interface QueriedEntry {
  key: string;
  value: Uint8Array;
  etag: string;
}

/** How many results a page has when the query does not say. */
const pageDefault = 100;
const depthMax = 32;

type Test = (value: unknown) => boolean;

/**
 * Dapr's state query (alpha) over entries in memory: filter, sort, page. Values that are not JSON never match a
 * filter. Throws an `Error` that names what is wrong with the query.
 */
export function runQuery(entries: Iterable<QueriedEntry>, query: StateQuery): QueryResult {
  const test = compileFilter(query.filter, 0);
  const matches: { entry: QueriedEntry; value: unknown }[] = [];
  for (const entry of entries) {
    if (query.keyPrefix && !entry.key.startsWith(query.keyPrefix)) continue;
    const value = parseJson(entry.value);
    if (test(value)) matches.push({ entry, value });
  }
  matches.sort((a, b) => compareBy(query.sort ?? [], a, b));
  const start = parseToken(query.page?.token);
  const end = start + (query.page?.limit || pageDefault);
  return {
    results: matches.slice(start, end).map(({ entry }) => ({ ...pick(entry) })),
    token: end < matches.length ? String(end) : "",
    metadata: {},
  };
}

function pick({ key, value, etag }: QueriedEntry): QueriedEntry {
  return { key, value, etag };
}

function compileFilter(filter: unknown, depth: number): Test {
  if (filter === undefined || filter === null) return () => true;
  if (depth > depthMax) throw new Error("the filter is nested too deeply");
  if (!isRecord(filter)) throw new Error("a filter is an object");
  const entries = Object.entries(filter);
  if (entries.length === 0) return () => true;
  const [operator, operand] = entries[0] ?? ["", undefined];
  if (entries.length > 1) throw new Error("a filter has one operator");
  return compileOperator(operator.toUpperCase(), operand, depth);
}

function compileOperator(operator: string, operand: unknown, depth: number): Test {
  if (operator === "AND" || operator === "OR") {
    if (!Array.isArray(operand) || operand.length < 1) throw new Error(`${operator} takes a list of filters`);
    const tests = operand.map((one) => compileFilter(one, depth + 1));
    if (operator === "AND") return (value) => tests.every((test) => test(value));
    return (value) => tests.some((test) => test(value));
  }
  const [path, expected] = singleEntry(operator, operand);
  if (operator === "IN") {
    if (!Array.isArray(expected)) throw new Error("IN takes a list of values");
    return (value) => expected.some((one) => equal(at(value, path), one));
  }
  const compare = comparisons[operator];
  if (!compare) throw new Error(`unknown filter operator ${JSON.stringify(operator)}`);
  return (value) => compare(at(value, path), expected);
}

const comparisons: Record<string, (actual: unknown, expected: unknown) => boolean> = {
  EQ: equal,
  NEQ: (actual, expected) => actual !== undefined && !equal(actual, expected),
  GT: (actual, expected) => order(actual, expected) > 0,
  GTE: (actual, expected) => order(actual, expected) >= 0,
  LT: (actual, expected) => order(actual, expected) < 0,
  LTE: (actual, expected) => order(actual, expected) <= 0,
};

function singleEntry(operator: string, operand: unknown): [path: string, expected: unknown] {
  const entries = isRecord(operand) ? Object.entries(operand) : [];
  const [entry] = entries;
  if (!entry || entries.length > 1) throw new Error(`${operator} takes one field and its value`);
  return entry;
}

function equal(actual: unknown, expected: unknown): boolean {
  return actual !== undefined && JSON.stringify(actual) === JSON.stringify(expected);
}

/** NaN, which no comparison accepts, for values that have no order. */
function order(actual: unknown, expected: unknown): number {
  if (typeof actual === "number" && typeof expected === "number") return actual - expected;
  if (typeof actual === "string" && typeof expected === "string") {
    return actual < expected ? -1 : Number(actual > expected);
  }
  return Number.NaN;
}

function at(value: unknown, path: string): unknown {
  let current = value;
  for (const part of path.split(".")) {
    if (Array.isArray(current)) current = current[Number(part)];
    else if (isRecord(current) && Object.hasOwn(current, part)) current = current[part];
    else return undefined;
  }
  return current;
}

function compareBy(
  keys: NonNullable<StateQuery["sort"]>,
  a: { entry: QueriedEntry; value: unknown },
  b: { entry: QueriedEntry; value: unknown },
): number {
  for (const { key, order: direction } of keys) {
    const difference = order(at(a.value, key), at(b.value, key)) || 0;
    if (difference !== 0) return direction === "DESC" ? -difference : difference;
  }
  return a.entry.key < b.entry.key ? -1 : Number(a.entry.key > b.entry.key);
}

function parseToken(token: string | undefined): number {
  if (!token) return 0;
  const start = Number(token);
  if (!Number.isSafeInteger(start) || start < 0)
    throw new Error(`invalid page token ${JSON.stringify(token)}`);
  return start;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    // Binary values are simply not queryable.
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
