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
  const http = provider.object("http");
  const grpc = provider.object("grpc");
  if ((http === undefined) === (grpc === undefined)) {
    const why = "mecha has no mesh configuration to look its name up in";
    provider.fail(`provider needs one of http and grpc: ${why}`, "http");
    return undefined;
  }
  return http === undefined ? readGrpc(name, grpc as FieldReader) : readHttp(name, http);
}

/** The server is sent all headers, and names those that it changes. */
function readGrpc(name: string, grpc: FieldReader): ExternalProvider {
  for (const field of ["app", "includeRequestBodyInCheck"]) grpc.refused(field, () => false);
  return {
    ...{ name, protocol: "grpc", uri: readUri(grpc), pathPrefix: "" },
    ...{ headersToUpstreamOnAllow: [], headersToDownstreamOnDeny: [], includeRequestHeadersInCheck: [] },
    ...readFailure(grpc),
  };
}

function readHttp(name: string, http: FieldReader): ExternalProvider {
  http.refused("app", () => false);
  http.refused("includeRequestBodyInCheck", () => false);
  return {
    ...{ name, protocol: "http" },
    uri: readUri(http),
    pathPrefix: http.text("pathPrefix"),
    headersToUpstreamOnAllow: readNames(http, "headersToUpstreamOnAllow"),
    headersToDownstreamOnDeny: readNames(http, "headersToDownstreamOnDeny"),
    includeRequestHeadersInCheck: readNames(http, "includeRequestHeadersInCheck"),
    ...readFailure(http),
  };
}

function readFailure(
  reader: FieldReader,
): Pick<ExternalProvider, "timeoutMs" | "failOpen" | "statusOnError"> {
  return {
    timeoutMs: reader.duration("timeout", 200),
    failOpen: reader.flag("failOpen", false),
    statusOnError: reader.number("statusOnError", 403, { min: 400, max: 599 }),
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
