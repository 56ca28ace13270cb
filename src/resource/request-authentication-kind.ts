import type { JwtRule, RequestAuthenticationSpec } from "./authentication.ts";
import type { FieldReader } from "./field-reader.ts";
import { readPolicyTargets } from "./policy-target.ts";

const rulesMax = 64;
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

/** Whose tokens callers of an app may show, in Istio's words (docs/guide/authorization.md). */
export function readRequestAuthentication(spec: FieldReader): RequestAuthenticationSpec {
  const targets = readPolicyTargets(spec, ["App"]);
  const jwtRules = spec.list("jwtRules").map(readRule);
  if (jwtRules.length > rulesMax) spec.fail(`spec.jwtRules has more than ${rulesMax} rules`, "jwtRules");
  return { targets, jwtRules };
}

function readRule(rule: FieldReader): JwtRule {
  const issuer = rule.requiredText("issuer");
  const jwksUri = readAddress(rule);
  const jwks = rule.text("jwks");
  if (jwks !== "" && jwksUri !== "") rule.fail("a rule has jwks or jwksUri, not both", "jwks");
  if (jwks !== "" && !isKeySet(jwks)) rule.fail("jwks is not a JSON Web Key Set", "jwks");
  if (jwks === "" && jwksUri === "" && !/^https?:\/\//.test(issuer)) {
    rule.fail("a rule needs jwks or jwksUri when its issuer is no address", "jwksUri");
  }
  rule.refused("spaceDelimitedClaims", () => false);
  return {
    ...{ issuer, jwksUri, jwks },
    audiences: rule.texts("audiences"),
    fromHeaders: rule.list("fromHeaders").map((one) => ({
      name: readHeaderName(one, "name").toLowerCase(),
      prefix: one.text("prefix"),
    })),
    fromParams: rule.texts("fromParams"),
    fromCookies: rule.texts("fromCookies"),
    outputPayloadToHeader: rule.has("outputPayloadToHeader")
      ? readHeaderName(rule, "outputPayloadToHeader")
      : "",
    outputClaimToHeaders: rule
      .list("outputClaimToHeaders")
      .map((one) => ({ header: readHeaderName(one, "header"), claim: one.requiredText("claim") })),
    forwardOriginalToken: rule.flag("forwardOriginalToken", false),
    timeoutMs: rule.duration("timeout", 5_000),
  };
}

function readAddress(rule: FieldReader): string {
  const address = rule.text("jwksUri");
  if (address !== "" && !(URL.canParse(address) && /^https?:\/\//.test(address))) {
    rule.fail(`jwksUri must be an http or https address, got ${JSON.stringify(address)}`, "jwksUri");
  }
  return address;
}

/** What may not be written by a policy: who calls, and how a message is framed. */
const ownHeaders = /^(host|content-length|transfer-encoding|connection|te|upgrade|trailer)$|^(dapr|mecha)-/i;

function readHeaderName(reader: FieldReader, name: string): string {
  const value = reader.requiredText(name);
  const isFine = value === "" || (headerName.test(value) && !ownHeaders.test(value));
  if (!isFine) reader.fail(`${name} is no header that a policy may set, got ${JSON.stringify(value)}`, name);
  return value;
}

function isKeySet(text: string): boolean {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    return Array.isArray(keys) && keys.length > 0;
  } catch {
    return false;
  }
}
