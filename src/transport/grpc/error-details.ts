import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Fault } from "../../errors.ts";
import { GrpcError, metadataOfLines } from "../../net/grpc/types.ts";

const domain = "dapr.io";

/** A fault as a gRPC status with the details of google.rpc (dapr-api.md §2, §4.1). */
export function grpcErrorOf(fault: Fault): GrpcError {
  const metadata = metadataOfLines(fault.options.headers);
  return new GrpcError(fault.grpc, fault.message, { details: detailsOf(fault), metadata, cause: fault });
}

function detailsOf(fault: Fault): Uint8Array[] {
  const { metadata = {}, resource, violations, help } = fault.options;
  const details = [any("ErrorInfo", errorInfo(fault.reason, metadata))];
  if (resource !== undefined) {
    const description = resource.type === "pubsub" ? fault.message : "";
    details.push(any("ResourceInfo", fields([1, resource.type], [2, resource.name], [4, description])));
  }
  if (violations !== undefined) {
    const list = violations.map(({ field, description }) => nested(1, fields([1, field], [2, description])));
    details.push(any("BadRequest", Buffer.concat(list)));
  }
  if (help !== undefined) {
    details.push(any("Help", nested(1, fields([1, help.description], [2, help.url]))));
  }
  return details;
}

/** `string reason = 1; string domain = 2; map<string, string> metadata = 3`. */
function errorInfo(reason: string, metadata: Record<string, string>): Uint8Array {
  const entries = Object.entries(metadata).map(([name, value]) => nested(3, fields([1, name], [2, value])));
  return Buffer.concat([fields([1, reason], [2, domain]), ...entries]);
}

/** `string type_url = 1; bytes value = 2` of google.protobuf.Any. */
function any(message: string, value: Uint8Array): Uint8Array {
  const typeUrl = fields([1, `type.googleapis.com/google.rpc.${message}`]);
  return Buffer.concat([typeUrl, nested(2, value)]);
}

function fields(...texts: [number: number, text: string][]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, text] of texts) {
    if (text !== "") writer.tag(number, WireType.LengthDelimited).string(text);
  }
  return writer.finish();
}

function nested(number: number, value: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(value).finish();
}
