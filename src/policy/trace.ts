import type { Configuration } from "../resource/resource.ts";
import { formatTraceBinary, formatTraceparent } from "../telemetry/propagation.ts";
import { type Layer, type LayerCall, observed } from "./layer.ts";

/** Never shown, although Dapr shows what begins with `dapr-`: `dapr-api-token`, and what people mistake for it. */
const secretName = /token|secret|password/;
const headerPrefix = "dapr-";

/** Whether spans of this Configuration can go anywhere. */
export function isTraced({ samplingRate, stdout, zipkin, otel }: Configuration["tracing"]): boolean {
  return samplingRate > 0 && (stdout || zipkin !== undefined || otel !== undefined);
}

/** The span of an operation, with Dapr's attributes. In the list only when spans can go somewhere. */
export const trace: Layer = {
  name: "trace",
  wrap(next, subject) {
    if (subject.isProbe || !isTraced(subject.configuration.tracing)) return undefined;
    const { protocol } = subject;
    const returnContext = protocol === "http" ? returnHeader : returnMetadata;
    return (call) => {
      const { span } = call;
      if (span.isRecorded) describe(call, protocol);
      returnContext(call);
      return observed(next, call, subject, ({ status, code, isFailure }) => {
        span.set("dapr.status_code", status);
        const message = protocol === "http" ? `Code(${code})` : status;
        span.end(isFailure ? { code: 2, message } : undefined);
      });
    };
  },
};

function describe(call: LayerCall, protocol: "http" | "grpc"): void {
  const { span, label, verb } = call;
  span.set("dapr.api", label);
  span.set("dapr.protocol", protocol);
  if (protocol === "http") {
    span.set("http.request.method", verb);
    // Without the query: what stands there is the caller's business, and may be a secret.
    span.set("url.full", label.slice(verb.length + 1));
  }
  for (const [name, value] of call.headers()) {
    if (name.startsWith(headerPrefix) && !secretName.test(name) && !name.endsWith("-bin"))
      span.set(name, value);
  }
}

/** The caller learns the context of his call, to look it up or to go on from there. */
function returnHeader(call: LayerCall): void {
  const { context } = call.span;
  call.setReplyHeader("traceparent", formatTraceparent(context));
  if (context.traceState !== "") call.setReplyHeader("tracestate", context.traceState);
}

function returnMetadata(call: LayerCall): void {
  // The header metadata of an invocation is the invoked app's.
  if (call.label.endsWith("/InvokeService")) return;
  call.setReplyHeader("grpc-trace-bin", formatTraceBinary(call.span.context));
}
