import { isIP } from "node:net";
import {
  type AttributeMatch,
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  type AuthorizationTarget,
  authorizationActions,
  type ConditionSpec,
  type OperationSpec,
  type OperationSubject,
  type SourceSpec,
} from "./authorization.ts";
import { readProvider } from "./authorization-provider.ts";
import type { FieldReader } from "./field-reader.ts";
import { readPolicyTargets } from "./policy-target.ts";

const rulesMax = 512;
const valuesMax = 4096;
const dryRun = "istio.io/dry-run";

/** Who may do what, in Istio's words (docs/guide/authorization.md). */
export function readAuthorizationPolicy(
  spec: FieldReader,
  _apiVersion: string,
  annotations: Readonly<Record<string, string>> = {},
): AuthorizationPolicySpec {
  const targets = readPolicyTargets(spec, ["App", "Component", "ActorType", "Workflow"]);
  const action = spec.oneOf("action", authorizationActions, "ALLOW");
  const provider = action === "CUSTOM" ? readProvider(spec) : undefined;
  if (action !== "CUSTOM" && spec.has("provider")) {
    spec.raw("provider");
    spec.fail("spec.provider goes with action CUSTOM", "provider");
  }
  const rules = spec.list("rules").map((rule) => readRule(rule, targets));
  if (rules.length > rulesMax) spec.fail(`spec.rules has more than ${rulesMax} rules`, "rules");
  const isOfCalls =
    targets.every(({ kind }) => kind === "App") &&
    rules.every(({ to }) => to.every(({ subject }) => subject === "call"));
  if (action === "CUSTOM" && !isOfCalls) {
    spec.fail("spec.action CUSTOM is for calls of apps; other uses have ALLOW and DENY", "action");
  }
  const isDryRun = annotations[dryRun] === "true";
  if (action === "CUSTOM" && isDryRun) spec.fail("spec.action CUSTOM can not run dry", "action");
  return { targets, action, rules, isDryRun, ...(provider && { provider }) };
}

function readRule(rule: FieldReader, targets: readonly AuthorizationTarget[]): AuthorizationRule {
  return {
    from: rule.list("from").flatMap((one) => readSource(one) ?? []),
    to: rule.list("to").flatMap((one) => readOperation(one, targets) ?? []),
    when: rule.list("when").map(readCondition),
  };
}

const sourceFields = ["principals", "namespaces", "ipBlocks", "remoteIpBlocks", "requestPrincipals"];

function readSource(one: FieldReader): SourceSpec | undefined {
  const source = one.object("source");
  if (source === undefined) {
    one.fail("from needs a source", "source");
    return undefined;
  }
  for (const name of ["serviceAccounts", "notServiceAccounts"]) source.refused(name, () => false);
  const matches = readMatches(source, sourceFields);
  if (matches.length === 0) one.fail("from.source is empty: leave from out to mean everybody", "source");
  for (const { field, values, notValues } of matches) {
    for (const value of [...values, ...notValues]) checkSourceValue(source, field, value);
  }
  return { matches };
}

function checkSourceValue(source: FieldReader, field: string, value: string): void {
  if (field.endsWith("pBlocks") && !isBlock(value)) {
    source.fail(`${field} must hold addresses or CIDR blocks, got ${JSON.stringify(value)}`, field);
  }
  if (field !== "principals") return;
  if (value.includes("://")) {
    source.fail(`principals are written without their scheme, got ${JSON.stringify(value)}`, field);
  }
  if (value.includes("/sa/")) {
    const why = `${JSON.stringify(value)} names a service account; mecha's are trust-domain/ns/namespace/app-id`;
    source.fail(why, field);
  }
}

function isBlock(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  const most = family === 6 ? 128 : 32;
  return (
    family !== 0 &&
    rest.length === 0 &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most))
  );
}

/** The field that says what an operation speaks of, and those that narrow it. */
const subjects: Record<Exclude<OperationSubject, "component">, { names: string[]; more: string[] }> = {
  call: { names: ["hosts", "ports", "paths", "mcpTools"], more: ["methods"] },
  state: { names: ["stateStores"], more: ["keys", "verbs"] },
  pubsub: { names: ["topics", "pubsubs"], more: ["verbs"] },
  bindings: { names: ["bindings"], more: ["operations"] },
  actors: { names: ["actors", "actorIds"], more: ["methods"] },
  workflows: { names: ["workflows", "workflowIds"], more: ["verbs"] },
  secrets: { names: ["secretStores", "secrets"], more: [] },
  configuration: { names: ["configurationStores"], more: ["keys"] },
  locks: { names: ["lockStores", "locks"], more: [] },
  crypto: { names: ["cryptoProviders", "cryptoKeys"], more: [] },
  conversation: { names: ["conversations"], more: [] },
};
const operationFields = [
  ...new Set(Object.values(subjects).flatMap(({ names, more }) => [...names, ...more])),
];
const verbs: Partial<Record<OperationSubject, string[]>> = {
  state: ["get", "set", "delete", "transact", "query"],
  pubsub: ["publish", "subscribe"],
  workflows: ["start", "get", "list", "raise", "pause", "resume", "terminate", "purge", "rerun"],
};

function readOperation(one: FieldReader, targets: readonly AuthorizationTarget[]): OperationSpec | undefined {
  const operation = one.object("operation");
  if (operation === undefined) {
    one.fail("to needs an operation", "operation");
    return undefined;
  }
  const matches = readMatches(operation, operationFields);
  if (matches.length === 0)
    one.fail("to.operation is empty: leave to out to mean every operation", "operation");
  const fields = matches.map(({ field }) => field);
  const subject = subjectOf(fields, targets);
  if (subject === undefined) {
    operation.fail(`${fields.join(", ")} do not speak of one thing: see docs/guide/authorization.md`);
    return undefined;
  }
  for (const match of matches) checkValues(operation, subject, match);
  return { subject, matches };
}

function subjectOf(
  fields: readonly string[],
  targets: readonly AuthorizationTarget[],
): OperationSubject | undefined {
  const rows = Object.entries(subjects) as [
    Exclude<OperationSubject, "component">,
    (typeof subjects)["call"],
  ][];
  const fitting = rows.filter(([, { names, more }]) =>
    fields.every((field) => names.includes(field) || more.includes(field)),
  );
  const named = fitting.find(([, { names }]) => fields.some((field) => names.includes(field)));
  if (named !== undefined) return named[0];
  const kinds = new Set(targets.map(({ kind }) => kind));
  if (kinds.has("Component") && fields.every((field) => ["keys", "verbs", "operations"].includes(field))) {
    return "component";
  }
  if (kinds.has("ActorType") && fields.every((field) => field === "methods")) return "actors";
  if (kinds.has("Workflow") && fields.every((field) => field === "verbs")) return "workflows";
  return fields.every((field) => field === "methods") ? "call" : undefined;
}

function checkValues(
  operation: FieldReader,
  subject: OperationSubject,
  { field, values, notValues }: AttributeMatch,
): void {
  for (const value of [...values, ...notValues]) {
    const known = field === "verbs" ? (verbs[subject] ?? Object.values(verbs).flat()) : undefined;
    if (known !== undefined && !known.includes(value)) {
      operation.fail(`verbs must be of ${known.join(", ")}, got ${JSON.stringify(value)}`, field);
    }
    if (field === "ports" && !/^\d{1,5}$/.test(value)) {
      operation.fail(`ports must hold numbers, got ${JSON.stringify(value)}`, field);
    }
    const wrong = field === "paths" ? templateProblem(value) : undefined;
    if (wrong !== undefined) operation.fail(`paths: ${JSON.stringify(value)}: ${wrong}`, field);
  }
}

/** What is wrong with a path that has `{*}` or `{**}` in it. */
function templateProblem(path: string): string | undefined {
  if (!/\{\*{1,2}\}/.test(path)) return undefined;
  const segments = path.split("/");
  if (!path.startsWith("/")) return "a template begins with a slash";
  if (segments.some((segment) => /[*{}]/.test(segment) && !/^\{\*{1,2}\}$/.test(segment))) {
    return "{*} and {**} stand for whole segments, and not beside other stars";
  }
  const rest = segments.slice(segments.indexOf("{**}") + 1);
  const isEarly = segments.includes("{**}") && rest.some((segment) => segment.startsWith("{"));
  return isEarly ? "{**} has to be the last of its operators" : undefined;
}

function readMatches(reader: FieldReader, fields: readonly string[]): AttributeMatch[] {
  return fields.flatMap((field) => {
    const not = `not${field[0]?.toUpperCase()}${field.slice(1)}`;
    const values = reader.texts(field);
    const notValues = reader.texts(not);
    if (!reader.has(field) && !reader.has(not)) return [];
    for (const [name, list] of [
      [field, values],
      [not, notValues],
    ] as const) {
      if (reader.has(name) && list.length === 0) reader.fail(`${name} is empty`, name);
      if (list.length > valuesMax) reader.fail(`${name} has more than ${valuesMax} values`, name);
      if (list.includes("")) reader.fail(`${name} holds an empty text`, name);
      checkStars(reader, name, list);
    }
    return [{ field, values, notValues }];
  });
}

/** A star anywhere else would be taken for itself, and match nothing that was meant. */
function checkStars(reader: FieldReader, name: string, values: readonly string[]): void {
  for (const value of values) {
    const inner = value.replace(/\{\*{1,2}\}/g, "").slice(value.startsWith("*") ? 1 : 0);
    const isFine =
      !inner.includes("*") || (!value.startsWith("*") && inner.indexOf("*") === inner.length - 1);
    if (!isFine) reader.fail(`${name}: a star goes first or last, got ${JSON.stringify(value)}`, name);
  }
}

const plainKeys = [
  "source.ip",
  "remote.ip",
  "source.namespace",
  "source.principal",
  "request.auth.principal",
  "request.auth.audiences",
  "request.auth.presenter",
  "destination.port",
];
const bracketed = /^(request\.headers\[[^[\]]+\]|request\.auth\.claims(\[[^[\]]+\])+)$/;

function readCondition(condition: FieldReader): ConditionSpec {
  if (condition.has("cel")) {
    const cel = condition.requiredText("cel");
    const beside = ["key", "values", "notValues"].find((name) => condition.has(name));
    if (beside !== undefined) {
      condition.raw(beside);
      condition.fail(`cel stands alone, and ${beside} is beside it`, beside);
    }
    return { cel };
  }
  const key = condition.requiredText("key");
  if (key !== "" && !plainKeys.includes(key) && !bracketed.test(key)) {
    const known = `${plainKeys.join(", ")}, request.headers[…] and request.auth.claims[…]`;
    condition.fail(`the key ${JSON.stringify(key)} is not known; known are ${known}`, "key");
  }
  const values = condition.texts("values");
  const notValues = condition.texts("notValues");
  checkStars(condition, "values", [...values, ...notValues]);
  checkConditionValues(condition, key, [...values, ...notValues]);
  if (values.length + notValues.length === 0) condition.fail("a condition needs values or notValues", "key");
  return { key, values, notValues };
}

/** An address that can not be read would match nothing, and a DENY deny nobody. */
function checkConditionValues(condition: FieldReader, key: string, values: readonly string[]): void {
  const field = key.endsWith(".ip") ? "ipBlocks" : key === "source.principal" ? "principals" : "";
  for (const value of values) checkSourceValue(condition, field, value);
}
