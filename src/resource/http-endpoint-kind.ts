import { readItem, readValue } from "./component-kind.ts";
import type { FieldReader } from "./field-reader.ts";
import type { HttpEndpointSpec, MetadataItem } from "./resource.ts";

const renegotiations = ["RenegotiateNever", "RenegotiateOnceAsClient", "RenegotiateFreelyAsClient"] as const;

export function readHttpEndpoint(spec: FieldReader): HttpEndpointSpec {
  const baseUrl = spec.requiredText("baseUrl");
  if (baseUrl !== "" && !isHttpUrl(baseUrl)) {
    spec.fail(`spec.baseUrl must be an http or https URL, got ${JSON.stringify(baseUrl)}`, "baseUrl");
  }
  const headers = spec.list("headers").map(readItem);
  const tls = spec.object("clientTLS");
  return { baseUrl, headers, ...(tls && { clientTLS: readTls(tls) }) };
}

function readTls(tls: FieldReader): NonNullable<HttpEndpointSpec["clientTLS"]> {
  const rootCA = readPart(tls, "rootCA");
  const certificate = readPart(tls, "certificate");
  const privateKey = readPart(tls, "privateKey");
  // Dapr's documentation leaves the common beginning out.
  const spelled = tls.text("renegotiation");
  const full = spelled.startsWith("Renegotiate") || spelled === "" ? spelled : `Renegotiate${spelled}`;
  if (full !== "" && !renegotiations.some((one) => one === full)) {
    tls.fail(`renegotiation must be one of ${renegotiations.join(", ")}, got ${spelled}`, "renegotiation");
  } else tls.missing("renegotiation", () => full === "" || full === "RenegotiateNever");
  return {
    ...(rootCA && { rootCA }),
    ...(certificate && { certificate }),
    ...(privateKey && { privateKey }),
  };
}

function readPart(tls: FieldReader, name: string): MetadataItem | undefined {
  const part = tls.object(name);
  return part && { name, ...readValue(part) };
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
