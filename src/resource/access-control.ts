import type { FieldReader } from "./field-reader.ts";
import type { AccessControl, AccessOperation } from "./resource.ts";

const actions = ["allow", "deny"] as const;
const trustDomainDefault = "public";

/** `Configuration.spec.accessControl`; `undefined` when it says nothing. */
export function readAccessControl(spec: FieldReader | undefined): AccessControl | undefined {
  if (spec === undefined) return undefined;
  const policies = spec.list("policies").map(readPolicy);
  // Who names callers and no default means those callers: the rest is refused, as in Dapr.
  const fallback = policies.length > 0 ? "deny" : "allow";
  const defaultAction = spec.oneOf("defaultAction", actions, fallback);
  const trustDomain = spec.text("trustDomain", trustDomainDefault) || trustDomainDefault;
  return { trustDomain, defaultAction, policies };
}

function readPolicy(policy: FieldReader): AccessControl["policies"][number] {
  return {
    appId: policy.requiredText("appId"),
    namespace: policy.requiredText("namespace"),
    trustDomain: policy.requiredText("trustDomain"),
    defaultAction:
      policy.text("defaultAction") === "" ? undefined : policy.oneOf("defaultAction", actions, "deny"),
    operations: policy.list("operations").map(readOperation),
  };
}

function readOperation(operation: FieldReader): AccessOperation {
  const name = operation.requiredText("name");
  operation.requiredText("action");
  return {
    name,
    verbs: operation.texts("httpVerb").map((verb) => verb.toUpperCase()),
    action: operation.oneOf("action", actions, "deny"),
  };
}
