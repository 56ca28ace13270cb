import { type Layer, observed } from "./layer.ts";

/** Ends the span of an operation with its outcome. In the list only when spans can go somewhere. */
export const trace: Layer = {
  name: "trace",
  wrap(next, subject) {
    const { samplingRate, stdout, zipkin, otel } = subject.configuration.tracing;
    const isExported = stdout || zipkin !== undefined || otel !== undefined;
    if (samplingRate <= 0 || !isExported) return undefined;
    return (call) => {
      const { span } = call;
      span.set("dapr.api", call.label);
      span.set("dapr.protocol", subject.protocol);
      return observed(next, call, subject, ({ status, isFailure }) => {
        span.set("dapr.status_code", status);
        span.end({ code: isFailure ? 2 : 0, message: isFailure ? status : "" });
      });
    };
  },
};
