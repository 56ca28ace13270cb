import type { ExternalProvider, RequestBodyInCheck } from "./authorization.ts";
import type { FieldReader } from "./field-reader.ts";

/** Calls are held in memory while their bodies are looked at. */
const requestBytesMax = 16 << 20;

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
  grpc.refused("app", () => false);
  const requestBody = readRequestBody(grpc, (body) => body.flag("packAsBytes", false));
  return {
    ...{ name, protocol: "grpc", uri: readUri(grpc), pathPrefix: "" },
    ...{ headersToUpstreamOnAllow: [], headersToDownstreamOnDeny: [], includeRequestHeadersInCheck: [] },
    ...readFailure(grpc),
    ...(requestBody && { requestBody }),
  };
}

function readHttp(name: string, http: FieldReader): ExternalProvider {
  http.refused("app", () => false);
  const requestBody = readRequestBody(http, (body) => {
    // Over HTTP a body is bytes anyway.
    body.flag("packAsBytes", false);
    return true;
  });
  return {
    ...{ name, protocol: "http" },
    uri: readUri(http),
    pathPrefix: http.text("pathPrefix"),
    headersToUpstreamOnAllow: readNames(http, "headersToUpstreamOnAllow"),
    headersToDownstreamOnDeny: readNames(http, "headersToDownstreamOnDeny"),
    includeRequestHeadersInCheck: readNames(http, "includeRequestHeadersInCheck"),
    ...readFailure(http),
    ...(requestBody && { requestBody }),
  };
}

function readRequestBody(
  reader: FieldReader,
  isBytes: (body: FieldReader) => boolean,
): RequestBodyInCheck | undefined {
  const body = reader.object("includeRequestBodyInCheck");
  if (body === undefined) return undefined;
  if (!body.has("maxRequestBytes")) body.fail("maxRequestBytes is missing", "maxRequestBytes");
  return {
    bytesMax: body.number("maxRequestBytes", 1, { min: 1, max: requestBytesMax }),
    allowsPartial: body.flag("allowPartialMessage", false),
    isBytes: isBytes(body),
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
