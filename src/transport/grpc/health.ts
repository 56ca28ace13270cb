import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { AppScope } from "../../api/call.ts";
import { grpcCode } from "../../net/grpc/status.ts";
import { GrpcError, type GrpcMethod } from "../../net/grpc/types.ts";
import { tokenCheck } from "../../policy/authorize.ts";

const serving = 1;
const notServing = 2;
const services = new Set(["", "dapr.proto.runtime.v1.Dapr"]);

/** `grpc.health.v1.Health` for probes that know no HTTP: serving when `/v1.0/healthz` would be 204. */
export function healthMethods(app: AppScope): ReadonlyMap<string, GrpcMethod> {
  const { apiToken } = app.settings;
  const isRight = apiToken ? tokenCheck(apiToken) : () => true;
  const check: GrpcMethod = {
    kind: "unary",
    handle(request, context) {
      if (!isRight(context.get("dapr-api-token") ?? "")) {
        throw new GrpcError(grpcCode.UNAUTHENTICATED, "authentication error: api token mismatch");
      }
      if (!services.has(serviceOf(request))) throw new GrpcError(grpcCode.NOT_FOUND, "unknown service");
      const status = app.health.unready().length === 0 ? serving : notServing;
      return new BinaryWriter().tag(1, WireType.Varint).int32(status).finish();
    },
  };
  return new Map([["/grpc.health.v1.Health/Check", check]]);
}

/** `string service = 1` of HealthCheckRequest. */
function serviceOf(request: Uint8Array): string {
  const reader = new BinaryReader(request);
  let service = "";
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === 1 && wireType === WireType.LengthDelimited) service = reader.string();
    else reader.skip(wireType, number);
  }
  return service;
}
