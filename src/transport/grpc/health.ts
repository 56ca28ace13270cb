import type { AppScope } from "../../api/call.ts";
import { createGrpcHealth } from "../../net/grpc/health.ts";
import { grpcCode } from "../../net/grpc/status.ts";
import { type GrpcContext, GrpcError, type GrpcMethod } from "../../net/grpc/types.ts";
import { tokenCheck } from "../../policy/authorize.ts";

const services = ["", "dapr.proto.runtime.v1.Dapr"];

/** `grpc.health.v1.Health` for probes that know no HTTP: serving when `/v1.0/healthz` would be 204. */
export function createHealthLookup(app: AppScope): (path: string) => GrpcMethod | undefined {
  const health = createGrpcHealth();
  const { apiToken } = app.settings;
  const isRight = apiToken ? tokenCheck(apiToken) : () => true;
  const refresh = (): void => {
    const status = app.health.unready().length === 0 ? "SERVING" : "NOT_SERVING";
    for (const service of services) health.set(service, status);
  };
  app.health.onChange?.(refresh);

  function requireToken(context: GrpcContext): void {
    if (isRight(context.get("dapr-api-token") ?? "")) return;
    throw new GrpcError(grpcCode.UNAUTHENTICATED, "authentication error: api token mismatch");
  }

  return (path) => {
    const method = health.lookup(path);
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
