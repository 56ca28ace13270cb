import type { GrpcContext, Metadata } from "../net/grpc/types.ts";
import { formatTraceBinary, formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import type { AppName } from "./identity.ts";

/** Metadata of the caller's mecha and its API token stay behind; who calls whom is stated anew. */
const droppedMetadata = new Set([
  "dapr-app-id",
  "dapr-callee-app-id",
  "dapr-caller-app-id",
  "dapr-caller-namespace",
  "dapr-api-token",
  "traceparent",
  "tracestate",
  "grpc-trace-bin",
]);

export function forwardedMetadata(context: GrpcContext, caller: AppName, calleeAppId: string): Metadata {
  const metadata = callerMetadata(context.metadata);
  metadata.push(
    ["dapr-caller-app-id", caller.appId],
    ["dapr-caller-namespace", caller.namespace],
    ["dapr-callee-app-id", calleeAppId],
  );
  return metadata;
}

export function traceMetadata(trace: SpanContext): Metadata {
  const metadata: Metadata = [
    ["traceparent", formatTraceparent(trace)],
    ["grpc-trace-bin", formatTraceBinary(trace)],
  ];
  if (trace.traceState !== "") metadata.push(["tracestate", trace.traceState]);
  return metadata;
}

const droppedAtPeer = new Set([
  "dapr-app-id",
  "dapr-api-token",
  "traceparent",
  "tracestate",
  "grpc-trace-bin",
]);

/** What passes from a peer to the app: the caller's mecha has stated who calls. */
export function peerMetadata(context: GrpcContext): Metadata {
  return context.metadata.filter(([name]) => !droppedAtPeer.has(name) && !name.startsWith("mecha-"));
}

/** What passes of an app's metadata to the app it calls by name; identity and trace are stated anew. */
export function callerMetadata(metadata: Metadata): Metadata {
  return metadata.filter(([name]) => !droppedMetadata.has(name) && !name.startsWith("mecha-"));
}
