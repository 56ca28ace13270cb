import { celFields, namesInExpression, plannedCondition } from "../../resource/authorization-cel.ts";
import { type AuthorizationRequest, headerField, type Purpose } from "./request.ts";

/** A request of more readings than these is taken for one that nobody can judge. */
const readingsMax = 64;

interface Variable {
  path: readonly string[];
  field: string;
}

/**
 * A condition in CEL. Where an attribute has several values (a header of several lines, the readings of a path) it is
 * worked out for each: all have to be true to grant, and one is enough to block. What can not be worked out grants
 * nothing and blocks.
 */
export function compileCel(expression: string, purpose: Purpose): (request: AuthorizationRequest) => boolean {
  const { names, headers } = namesInExpression(expression);
  const evaluate = plannedCondition(expression);
  const variables: Variable[] = [
    ...names.map((name) => ({ path: name.split("."), field: celFields[name] as string })),
    ...headers.map((name) => ({
      path: ["request", "headers", name],
      field: headerField(name.toLowerCase()),
    })),
  ];
  const isGrant = purpose === "grant";
  return (request) => {
    const readings = readingsOf(variables, request, purpose);
    if (readings === undefined) return !isGrant;
    const judged = readings.map((reading) => evaluate(reading) ?? !isGrant);
    return isGrant ? judged.every(Boolean) : judged.some(Boolean);
  };
}

/** `undefined` when nobody can say what one of the variables is. */
function readingsOf(
  variables: readonly Variable[],
  request: AuthorizationRequest,
  purpose: Purpose,
): Record<string, unknown>[] | undefined {
  let readings: Record<string, unknown>[] = [{}];
  for (const { path, field } of variables) {
    const found = request.values(field, purpose);
    if (found === undefined) return undefined;
    const values = valuesOf(field, found);
    if (readings.length * values.length > readingsMax) return undefined;
    readings = readings.flatMap((reading) => values.map((value) => withValue(reading, path, value)));
  }
  return readings;
}

/** What is not there is the empty text. */
function valuesOf(field: string, found: readonly string[]): unknown[] {
  if (field === "audiences") return [[...found]];
  if (field === "ports") return found.map((port) => BigInt(port));
  return found.length === 0 ? [""] : [...found];
}

function withValue(
  tree: Record<string, unknown>,
  [name = "", ...rest]: readonly string[],
  value: unknown,
): Record<string, unknown> {
  if (rest.length === 0) return { ...tree, [name]: value };
  return { ...tree, [name]: withValue((tree[name] ?? {}) as Record<string, unknown>, rest, value) };
}
