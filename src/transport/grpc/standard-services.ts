import type { AppScope } from "../../api/call.ts";
import { createGrpcHealth } from "../../net/grpc/health.ts";
import { createGrpcReflection } from "../../net/grpc/reflection.ts";
import { grpcCode } from "../../net/grpc/status.ts";
import { type GrpcContext, GrpcError, type GrpcMethod } from "../../net/grpc/types.ts";
import { tokenCheck } from "../../policy/authorize.ts";
import { Dapr } from "../../wire/dapr/proto/runtime/v1/dapr_pb.js";

/** The services every gRPC server may have; `undefined` for any other path. */
export type StandardServices = (path: string) => GrpcMethod | undefined;

const healthServices = ["", Dapr.typeName];

/** Health, serving when `/v1.0/healthz` would be 204, and reflection when it is turned on; behind the API token. */
export function createStandardServices(app: AppScope): StandardServices {
  const health = createGrpcHealth();
  const reflection = app.settings.grpcReflection ? createGrpcReflection([Dapr.file]) : undefined;
  const { settings } = app;
  const isRight = settings.apiTokens.length > 0 ? tokenCheck(() => settings.apiTokens) : () => true;

  function refresh(): void {
    const status = app.health.unready().length === 0 ? "SERVING" : "NOT_SERVING";
    for (const service of healthServices) health.set(service, status);
  }
  function requireToken(context: GrpcContext): void {
    if (isRight(context.get("dapr-api-token") ?? "")) return;
    throw new GrpcError(grpcCode.UNAUTHENTICATED, "authentication error: api token mismatch");
  }

  app.health.onChange?.(refresh);
  return (path) => {
    const method = health.lookup(path) ?? reflection?.lookup(path);
    if (method === undefined) return undefined;
    refresh();
    return guarded(method, requireToken);
  };
}

function guarded(method: GrpcMethod, require: (context: GrpcContext) => void): GrpcMethod {
  if (method.kind === "unary") {
    return {
      kind: "unary",
      handle(request, context) {
        require(context);
        return method.handle(request, context);
      },
    };
  }
  return {
    kind: "stream",
    async handle(requests, send, context) {
      require(context);
      await method.handle(requests, send, context);
    },
  };
}
