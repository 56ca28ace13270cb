import type { ExternalProvider } from "./authorization.ts";
import type { FieldReader } from "./field-reader.ts";

/** Who is asked by a policy of action CUSTOM. Istio names it and keeps it in its mesh configuration; here it stands inline. */
export function readProvider(spec: FieldReader): ExternalProvider | undefined {
  const provider = spec.object("provider");
  if (provider === undefined) {
    spec.fail("spec.action CUSTOM needs spec.provider", "provider");
    return undefined;
  }
  const name = provider.requiredText("name");
  provider.refused("grpc", () => false);
  const http = provider.object("http");
  if (http === undefined) {
    provider.fail("provider needs http: mecha has no mesh configuration to look its name up in", "http");
    return undefined;
  }
  http.refused("app", () => false);
  http.refused("includeRequestBodyInCheck", () => false);
  return {
    name,
    uri: readUri(http),
    pathPrefix: http.text("pathPrefix"),
    headersToUpstreamOnAllow: readNames(http, "headersToUpstreamOnAllow"),
    headersToDownstreamOnDeny: readNames(http, "headersToDownstreamOnDeny"),
    includeRequestHeadersInCheck: readNames(http, "includeRequestHeadersInCheck"),
    timeoutMs: http.duration("timeout", 200),
    failOpen: http.flag("failOpen", false),
    statusOnError: http.number("statusOnError", 403, { min: 400, max: 599 }),
  };
}

function readUri(http: FieldReader): string {
  const uri = http.requiredText("uri");
  const isFine = uri === "" || (URL.canParse(uri) && /^https?:\/\/[^?#]*$/.test(uri));
  if (!isFine) http.fail(`uri must be an http or https address, got ${JSON.stringify(uri)}`, "uri");
  return uri;
}

/** Headers by name, or by their beginning or end with a star. */
function readNames(http: FieldReader, name: string): string[] {
  return http.texts(name).map((value) => {
    if (!/^\*?[A-Za-z0-9!#$%&'+.^_`|~-]+\*?$/.test(value) || (value.startsWith("*") && value.endsWith("*"))) {
      http.fail(`${name} must hold names of headers, got ${JSON.stringify(value)}`, name);
    }
    return value.toLowerCase();
  });
}
