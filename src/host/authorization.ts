import type { InboundCall, LocalTarget } from "../peer/local-targets.ts";
import { canonicalMethod } from "../peer/method-path.ts";
import { accessDenied } from "../peer/refusal.ts";
import { principalText } from "../policy/authorization/authorization-policies.ts";
import type { Judge } from "../policy/authorization/judge.ts";
import { DecisionNotes } from "../policy/authorization/notes.ts";
import { readingsOf } from "../policy/authorization/path-readings.ts";
import { judgeOf } from "../policy/authorization/policies.ts";
import type { AuthorizationRequest } from "../policy/authorization/request.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AuthorizationRequestOptions {
  principal: { namespace: string; appId: string };
  appPort: number;
  resources: Pick<RuntimeResources, "policies" | "onPolicies">;
  telemetry: Telemetry;
}

/** The check of calls that come in for an app by AuthorizationPolicies; follows its resources. */
export function openAuthorization(
  options: AuthorizationRequestOptions,
): NonNullable<LocalTarget["authorize"]> {
  const { principal, resources, telemetry } = options;
  const place = { subject: "call", appId: principal.appId, name: "", isOfComponent: false } as const;
  const notes = new DecisionNotes(telemetry, "call");
  let judge: Judge | undefined;
  const follow = (): void => {
    judge = judgeOf(resources.policies, place);
  };
  follow();
  resources.onPolicies(follow);
  return (call) => {
    if (judge === undefined) return undefined;
    const request = callRequest(call, options);
    const verdict = judge.judge(request);
    notes.take(verdict, () => fieldsOf(call));
    if (!verdict.isAllowed) throw accessDenied();
    return undefined;
  };
}

function fieldsOf(call: InboundCall): Record<string, string> {
  return { principal: callerOf(call), operation: call.operation, verb: call.verb };
}

function callerOf({ caller, trustDomain }: InboundCall): string {
  return caller.appId === "" ? "" : principalText({ ...caller, trustDomain });
}

/** What rules may ask of a call: as it goes to the app, its path decoded once. */
function callRequest(call: InboundCall, options: AuthorizationRequestOptions): AuthorizationRequest {
  const { principal, appPort } = options;
  const paths = readingsOf(pathOf(call));
  const host = [principal.appId, `${principal.appId}.${principal.namespace}`].map((one) => one.toLowerCase());
  const address = call.address === "" ? undefined : [call.address];
  let lines: readonly string[] | undefined;
  const values = (field: string, purpose: "grant" | "block"): readonly string[] | undefined => {
    switch (field) {
      case "principals":
        return present(callerOf(call));
      case "namespaces":
        return present(call.caller.namespace);
      case "ipBlocks":
      case "remoteIpBlocks":
        return address;
      case "hosts":
        return host;
      case "ports":
        return [String(appPort)];
      case "paths":
        return paths;
      case "methods":
        return methodsOf(call, purpose);
    }
    if (field.startsWith("header:")) {
      lines ??= call.lines();
      return linesOf(lines, field.slice("header:".length));
    }
    return [];
  };
  return { subject: "call", isOfComponent: false, values };
}

function present(value: string): readonly string[] {
  return value === "" ? [] : [value];
}

/** Of HTTP the wire's form is decoded once, which is what an app makes of it; methods and gRPC paths are literal. */
function pathOf({ form, operation }: InboundCall): string {
  if (form === "method") return canonicalMethod(operation);
  if (form === "grpc" || !operation.includes("%")) return operation;
  const bytes = operation.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** Verbs differ by case, but an app may not care. A legacy call without a verb has one that nobody knows. */
function methodsOf({ form, verb }: InboundCall, purpose: "grant" | "block"): readonly string[] | undefined {
  if (form === "grpc") return ["POST"];
  if (verb === "" || verb === "NONE") return undefined;
  return purpose === "grant" ? [verb] : [verb, verb.toUpperCase()];
}

function linesOf(lines: readonly string[], lowerName: string): readonly string[] {
  const found: string[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    if (lines[i]?.toLowerCase() === lowerName) found.push(lines[i + 1] as string);
  }
  return found;
}
