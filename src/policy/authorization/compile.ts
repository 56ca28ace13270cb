import type {
  AttributeMatch,
  AuthorizationAction,
  AuthorizationPolicyResource,
  AuthorizationRule,
  ConditionSpec,
  ExternalProvider,
  OperationSpec,
} from "../../resource/authorization.ts";
import { celFields, namesInExpression } from "../../resource/authorization-cel.ts";
import { compileCel } from "./cel-condition.ts";
import { type AuthorizationRequest, claimField, headerField, type Purpose } from "./request.ts";
import { oneOfBlocks, oneOfGlobs, oneOfPaths, type TextTest } from "./text-match.ts";

export interface CompiledPolicy {
  /** `namespace/name`, or the name. */
  name: string;
  action: AuthorizationAction;
  isDryRun: boolean;
  /** Of CUSTOM. */
  provider: ExternalProvider | undefined;
  /** It looks into bodies. */
  asksTools: boolean;
  /** The index of the first rule that matches; -1: none does. */
  match(request: AuthorizationRequest): number;
}

type RequestTest = (request: AuthorizationRequest) => boolean;

export function compilePolicy({ name, namespace, spec }: AuthorizationPolicyResource): CompiledPolicy {
  const { action, isDryRun, provider } = spec;
  const purpose: Purpose = action === "ALLOW" ? "grant" : "block";
  const rules = spec.rules.map((rule) => compileRule(rule, purpose));
  return {
    name: namespace === "" ? name : `${namespace}/${name}`,
    action,
    isDryRun,
    provider,
    asksTools: spec.rules.some(asksTools),
    match: (request) => rules.findIndex((rule) => rule(request)),
  };
}

function asksTools({ to, when }: AuthorizationRule): boolean {
  const named = to.some(({ matches }) => matches.some(({ field }) => field === "mcpTools"));
  const inCel = (cel: string) => namesInExpression(cel).names.some((name) => celFields[name] === "mcpTools");
  return named || when.some((condition) => "cel" in condition && inCel(condition.cel));
}

function compileRule({ from, to, when }: AuthorizationRule, purpose: Purpose): RequestTest {
  const sources = from.map(({ matches }) => allOf(matches, purpose));
  const operations = to.map((operation) => compileOperation(operation, purpose));
  const conditions = when.map((condition) =>
    "cel" in condition ? compileCel(condition.cel, purpose) : compileMatch(matchOf(condition), purpose),
  );
  return (request) =>
    (sources.length === 0 || sources.some((test) => test(request))) &&
    (operations.length === 0 || operations.some((test) => test(request))) &&
    conditions.every((test) => test(request));
}

function compileOperation({ subject, matches }: OperationSpec, purpose: Purpose): RequestTest {
  const fits = allOf(matches, purpose);
  if (subject === "component") return (request) => request.isOfComponent && fits(request);
  return (request) => request.subject === subject && fits(request);
}

function allOf(matches: readonly AttributeMatch[], purpose: Purpose): RequestTest {
  const tests = matches.map((match) => compileMatch(match, purpose));
  return (request) => tests.every((test) => test(request));
}

/**
 * Of a header that came in several lines an app may look at any, and read some paths in several ways; a transaction is
 * several verbs, and a batch calls several tools: all have to be granted, and one is enough to block.
 */
function isOfSeveral(field: string): boolean {
  return ["paths", "verbs", "mcpTools"].includes(field) || field.startsWith("header:");
}

function compileMatch({ field, values, notValues }: AttributeMatch, purpose: Purpose): RequestTest {
  const isWanted = values.length === 0 ? undefined : textTest(field, values);
  const isUnwanted = notValues.length === 0 ? undefined : textTest(field, notValues);
  const isStrict = isOfSeveral(field);
  const isGrant = purpose === "grant";
  return (request) => {
    const found = request.values(field, purpose);
    if (found === undefined) return !isGrant;
    if (isWanted !== undefined) {
      const every = isStrict && isGrant;
      const fits = every ? found.length > 0 && found.every(isWanted) : found.some(isWanted);
      if (!fits) return false;
    }
    if (isUnwanted === undefined) return true;
    return isStrict && !isGrant ? found.length === 0 || !found.every(isUnwanted) : !found.some(isUnwanted);
  };
}

function textTest(field: string, values: readonly string[]): TextTest {
  if (field === "ipBlocks" || field === "remoteIpBlocks") return oneOfBlocks(values);
  if (field === "paths") return oneOfPaths(values);
  if (field === "hosts") return oneOfGlobs(values.map((value) => value.toLowerCase()));
  return oneOfGlobs(values);
}

const fieldOfKey: Readonly<Record<string, string>> = {
  "source.ip": "ipBlocks",
  "remote.ip": "remoteIpBlocks",
  "source.namespace": "namespaces",
  "source.principal": "principals",
  "request.auth.principal": "requestPrincipals",
  "request.auth.audiences": "audiences",
  "request.auth.presenter": "presenter",
  "destination.port": "ports",
};

function matchOf({ key, values, notValues }: Exclude<ConditionSpec, { cel: string }>): AttributeMatch {
  const inBrackets = [...key.matchAll(/\[([^[\]]+)\]/g)].map(([, text]) => text as string);
  const bracketed = key.startsWith("request.headers[")
    ? headerField((inBrackets[0] as string).toLowerCase())
    : claimField(inBrackets);
  return { field: fieldOfKey[key] ?? bracketed, values, notValues };
}
