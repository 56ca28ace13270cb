import type { AppScope } from "../../api/call.ts";
import { Fault } from "../../errors.ts";
import { grpcCodeGoName } from "../../net/grpc/status.ts";
import { type GrpcContext, GrpcError, type GrpcProxyTarget } from "../../net/grpc/types.ts";
import { authorize } from "../../policy/authorize.ts";
import { type Handler, type Subject, stack } from "../../policy/layer.ts";
import type { Counter } from "../../telemetry/telemetry.ts";
import { grpcErrorOf } from "./error-details.ts";
import { RoutedGrpcCall } from "./grpc-call.ts";

type Connection = Awaited<ReturnType<GrpcProxyTarget["connect"]>>;

const cellsMax = 1000;

/** Proxying to other apps, behind the API token, counted when a call ends. */
export function createProxy(
  app: AppScope,
  subjectOf: (operation: string) => Subject<Connection>,
): GrpcProxyTarget {
  const connect: Handler<RoutedGrpcCall, Connection> = (call) => app.invoker.proxy().connect(call.grpc);
  const guarded = stack([authorize], connect, subjectOf("proxy"));
  const count = completedCounter(app);
  return {
    kind: "proxy",
    async connect(context: GrpcContext) {
      try {
        const connection = await guarded(new RoutedGrpcCall(app, context, 0));
        return {
          ...connection,
          done(code) {
            count(context.path, code);
            connection.done?.(code);
          },
        };
      } catch (error) {
        const failure = error instanceof GrpcError ? error : grpcErrorOf(Fault.from(error));
        count(context.path, failure.code);
        throw failure;
      }
    },
  };
}

function completedCounter(app: AppScope): (path: string, code: number) => void {
  if (!app.configuration.metrics.enabled) return () => {};
  const cells = new Map<string, Counter>();
  return (path, code) => {
    // Paths are text of callers: beyond a bound they share one cell.
    const method = cells.size < cellsMax || cells.has(`${code} ${path}`) ? path : "";
    let cell = cells.get(`${code} ${method}`);
    if (cell === undefined) {
      cell = app.telemetry.metrics.counter("grpc.io/server/completed_rpcs", {
        app_id: app.principal.appId,
        grpc_server_method: method,
        grpc_server_status: grpcCodeGoName(code),
      });
      cells.set(`${code} ${method}`, cell);
    }
    cell.add();
  };
}
