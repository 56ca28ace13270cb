import type { AuthorizationPolicyResource } from "./authorization.ts";
import type { Problem } from "./problem.ts";
import { headersInExpression } from "./rate-limit.ts";
import type { Resource } from "./resource.ts";

const expressionLengthMax = 4096;
/** Files are read again and again; a policy keeps what it was compiled to. */
const expressionsMax = 10_000;

/** What an expression says of its variables; `undefined` when it can not be worked out or is neither true nor false. */
export type PlannedCondition = (variables: Record<string, unknown>) => boolean | undefined;

const planned = new Map<string, PlannedCondition>();

/** The names of a condition in CEL beside `request.headers["name"]`, and the attribute that each stands for. */
export const celFields: Readonly<Record<string, string>> = {
  "source.ip": "ipBlocks",
  "source.namespace": "namespaces",
  "source.principal": "principals",
  "destination.port": "ports",
  "request.method": "methods",
  "request.path": "paths",
  "request.mcpTool": "mcpTools",
  "request.verb": "verbs",
  "request.operation": "operations",
  "request.key": "keys",
  "request.topic": "topics",
  "request.actorId": "actorIds",
  "request.workflow": "workflows",
  "request.workflowId": "workflowIds",
  "request.secret": "secrets",
  "request.auth.principal": "requestPrincipals",
  "request.auth.presenter": "presenter",
  "request.auth.audiences": "audiences",
};

/** The names an expression asks for, and the headers by the way they are written. */
export function namesInExpression(expression: string): { names: string[]; headers: string[] } {
  const headers = [...expression.matchAll(headersInExpression)].map(
    ([, double, single]) => double ?? single ?? "",
  );
  const code = expression.replace(headersInExpression, '""').replace(texts, '""');
  const found = [...code.matchAll(/\b(?:request|source|destination)\b(?:\s*\.\s*\w+)*/g)];
  const names = found.map(([name]) => knownPart(name.replace(/\s/g, "")));
  return { names: [...new Set(names)], headers: [...new Set(headers)] };
}

/** `request.path` of `request.path.startsWith`. */
function knownPart(name: string): string {
  return Object.keys(celFields).find((known) => name === known || name.startsWith(`${known}.`)) ?? name;
}

const texts = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g;

/** Plans the conditions in CEL of authorization policies. Apart from the reading: CEL is loaded only where there is some. */
export async function checkAuthorizationCel(resources: readonly Resource[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const resource of resources) {
    if (resource.kind !== "AuthorizationPolicy") continue;
    for (const { expression, place } of expressionsOf(resource as AuthorizationPolicyResource)) {
      const why = await planOrWhyNot(expression);
      if (why !== undefined)
        problems.push({ severity: "error", message: `cel: ${why}`, source: resource.at(...place) });
    }
  }
  return problems;
}

/** Of an expression that `checkAuthorizationCel` has let pass. */
export function plannedCondition(expression: string): PlannedCondition {
  return planned.get(expression) ?? (() => undefined);
}

function expressionsOf({ spec }: AuthorizationPolicyResource) {
  return (spec.rules ?? []).flatMap(({ when }, rule) =>
    when.flatMap((condition, index) =>
      "cel" in condition
        ? [{ expression: condition.cel, place: ["spec", "rules", rule, "when", index, "cel"] }]
        : [],
    ),
  );
}

async function planOrWhyNot(expression: string): Promise<string | undefined> {
  if (planned.has(expression)) return undefined;
  if (expression.length > expressionLengthMax) return `longer than ${expressionLengthMax} characters`;
  const unknown = namesInExpression(expression).names.find((name) => celFields[name] === undefined);
  if (unknown !== undefined) {
    const known = Object.keys(celFields).join(", ");
    return `${JSON.stringify(unknown)} is not known; known are ${known} and request.headers["name"]`;
  }
  const { celEnv, isCelError, parse, plan } = await import("@bufbuild/cel");
  try {
    const evaluate = plan(celEnv(), parse(expression));
    if (planned.size >= expressionsMax) planned.clear();
    planned.set(expression, (variables) => {
      const result: unknown = evaluate(variables as Parameters<typeof evaluate>[0]);
      return !isCelError(result) && typeof result === "boolean" ? result : undefined;
    });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
