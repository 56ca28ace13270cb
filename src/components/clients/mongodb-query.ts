import type { StateQuery } from "../../component/state-store.ts";

type Filter = Record<string, unknown>;
const depthMax = 32;
const operators: Record<string, string> = {
  ...{ EQ: "$eq", NEQ: "$ne", GT: "$gt", GTE: "$gte", LT: "$lt", LTE: "$lte", IN: "$in" },
};

/** A filter of Dapr's query as one of MongoDB's, over the fields of `value`. */
export function mongoFilter(filter: unknown, depth = 0): Filter {
  if (filter === undefined || filter === null) return {};
  if (depth > depthMax) throw new Error("the filter is nested too deeply");
  if (typeof filter !== "object" || Array.isArray(filter)) throw new Error("a filter is an object");
  const entries = Object.entries(filter);
  const [entry] = entries;
  if (entry === undefined) return {};
  if (entries.length > 1) throw new Error("a filter has one operator");
  const [name, operand] = entry;
  const upper = name.toUpperCase();
  if (upper === "AND" || upper === "OR") {
    if (!Array.isArray(operand) || operand.length < 1) throw new Error(`${upper} takes a list of filters`);
    return { [`$${upper.toLowerCase()}`]: operand.map((one) => mongoFilter(one, depth + 1)) };
  }
  const operator = operators[upper];
  if (operator === undefined) throw new Error(`unknown filter operator ${JSON.stringify(name)}`);
  const [field, ...others] = Object.entries((operand ?? {}) as object);
  if (field === undefined || others.length > 0) throw new Error(`${upper} takes one field and its value`);
  if (upper === "IN" && !Array.isArray(field[1])) throw new Error("IN takes a list of values");
  const path = pathOf(field[0]);
  const test = { [path]: { [operator]: field[1] } };
  // A value without the field is not unequal, as in the other stores.
  return upper === "NEQ" ? { $and: [{ [path]: { $exists: true } }, test] } : test;
}

/** By the fields asked for, then by key, so that pages follow each other. */
export function mongoSort(sort: StateQuery["sort"]): Record<string, 1 | -1> {
  const fields = (sort ?? []).map(({ key, order }) => [pathOf(key), order === "DESC" ? -1 : 1] as const);
  return { ...Object.fromEntries(fields), _id: 1 };
}

function pathOf(field: string): string {
  if (field === "" || field.startsWith("$") || field.includes("\u0000"))
    throw new Error(`${JSON.stringify(field)} is not the name of a field`);
  return `value.${field}`;
}
