import type { Metadata } from "../net/grpc/types.ts";
import type { RawHeaders } from "../net/http1/types.ts";

/** HTTP's own request fields: as metadata they are prefixed `dapr-`, as Dapr has it. */
const httpNames = new Set([
  "accept",
  "accept-charset",
  "accept-language",
  "accept-ranges",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "cache-control",
  "content-type",
  "content-length",
  "cookie",
  "date",
  "expect",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-schedule-tag-match",
  "if-unmodified-since",
  "max-forwards",
  "origin",
  "pragma",
  "referer",
  "via",
  "warning",
]);

const prefix = "dapr-";

/** HTTP header lines as gRPC metadata. */
export function headersToMetadata(raw: RawHeaders): Metadata {
  const metadata: Metadata = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    if (isOfTrace(name)) continue;
    metadata.push([httpNames.has(name) ? prefix + name : name, raw[i + 1] as string]);
  }
  return metadata;
}

/** gRPC metadata as HTTP header lines: binary values and the transport's own fields have no place there. */
export function metadataToHeaders(metadata: Metadata): RawHeaders {
  const raw: RawHeaders = [];
  for (const [name, value] of metadata) {
    if (name.endsWith("-bin") || name === "content-type" || name === "content-length" || isOfTrace(name))
      continue;
    raw.push(isGrpcs(name) ? prefix + name.replace(/^:/, "") : name, value);
  }
  return raw;
}

/** gRPC metadata of one server as metadata of another. */
export function relayedMetadata(metadata: Metadata): Metadata {
  return metadata.filter(([name]) => !isOfTrace(name) && name !== "content-type");
}

function isOfTrace(lowerName: string): boolean {
  return lowerName === "traceparent" || lowerName === "tracestate" || lowerName === "grpc-trace-bin";
}

function isGrpcs(lowerName: string): boolean {
  return lowerName.startsWith("grpc-") || lowerName.startsWith(":");
}
