import type { AppScope } from "../../api/call.ts";
import { Fault } from "../../errors.ts";
import { grpcCodeGoName } from "../../net/grpc/status.ts";
import { type GrpcContext, GrpcError, type GrpcProxyTarget } from "../../net/grpc/types.ts";
import { authorize } from "../../policy/authorize.ts";
import { baggage } from "../../policy/baggage.ts";
import { type Handler, type Subject, stack } from "../../policy/layer.ts";
import { apiLog } from "../../policy/log.ts";
import { CellTable } from "../../telemetry/cell-table.ts";
import { grpcErrorOf } from "./error-details.ts";
import { RoutedGrpcCall } from "./grpc-call.ts";

type Connection = Awaited<ReturnType<GrpcProxyTarget["connect"]>>;

/** Proxying to other apps, behind the API token, measured and logged when a call ends. */
export function createProxy(
  app: AppScope,
  subjectOf: (operation: string) => Subject<Connection>,
): GrpcProxyTarget {
  const subject = subjectOf("proxy");
  const connect: Handler<RoutedGrpcCall, Connection> = (call) => app.invoker.proxy().connect(call.grpc);
  const guarded = stack([authorize, baggage], connect, subject);
  const measure = proxyMeter(app);
  const log = apiLog(subject);
  return {
    kind: "proxy",
    async connect(context: GrpcContext) {
      const startedMs = performance.now();
      const call = new RoutedGrpcCall(app, context, 0);
      const ended = (code: number): void => {
        const tookMs = performance.now() - startedMs;
        measure(context.path, code, tookMs);
        log?.(call, { code, bytes: 0, tookMs });
      };
      try {
        const connection = await guarded(call);
        return {
          ...connection,
          done(code) {
            ended(code);
            connection.done?.(code);
          },
        };
      } catch (error) {
        const failure = error instanceof GrpcError ? error : grpcErrorOf(Fault.from(error));
        ended(failure.code);
        throw failure;
      }
    },
  };
}

function proxyMeter(app: AppScope): (path: string, code: number, tookMs: number) => void {
  if (!app.configuration.metrics.enabled) return () => {};
  const { metrics } = app.telemetry;
  const cells = new CellTable((path, _verb, status) => {
    const labels = { app_id: app.principal.appId, grpc_server_method: path, grpc_server_status: status };
    return {
      completed: metrics.counter("grpc.io/server/completed_rpcs", labels),
      latency: metrics.histogram("grpc.io/server/server_latency", labels),
    };
  });
  return (path, code, tookMs) => {
    const { completed, latency } = cells.find(path, "", grpcCodeGoName(code));
    completed.add();
    latency.record(tookMs);
  };
}
