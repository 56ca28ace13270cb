import type { AppScope, Call, Principal } from "../../api/call.ts";
import type { GrpcContext } from "../../net/grpc/types.ts";
import type { LayerCall } from "../../policy/layer.ts";
import { extractGrpcContext } from "../../telemetry/propagation.ts";
import type { Span } from "../../telemetry/telemetry.ts";

/** One gRPC call on its way through layers and handler. */
export class RoutedGrpcCall implements Call, LayerCall {
  readonly protocol = "grpc";
  readonly verb = "";
  readonly app: AppScope;
  readonly grpc: GrpcContext;
  readonly requestBytes: number;
  #span: Span | undefined;

  constructor(app: AppScope, grpc: GrpcContext, requestBytes: number) {
    this.app = app;
    this.grpc = grpc;
    this.requestBytes = requestBytes;
  }

  get principal(): Principal {
    return this.app.principal;
  }

  get label(): string {
    return this.grpc.path;
  }

  get metricPath(): string {
    return this.grpc.path;
  }

  get signal(): AbortSignal {
    return this.grpc.signal;
  }

  get span(): Span {
    this.#span ??= this.app.telemetry.tracer.start(
      this.grpc.path,
      "client",
      extractGrpcContext((name) => this.grpc.get(name)),
    );
    return this.#span;
  }

  header(lowerName: string): string | undefined {
    return this.grpc.get(lowerName);
  }

  headers(): [name: string, value: string][] {
    return [...this.grpc.metadata];
  }

  setReplyHeader(name: string, value: string): void {
    this.grpc.replyHeaders.push([name.toLowerCase(), value]);
  }
}
