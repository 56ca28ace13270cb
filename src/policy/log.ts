import type { LogFields } from "../telemetry/telemetry.ts";
import { type Layer, observed } from "./layer.ts";

/** API logging: a line per call with the fields of Dapr (dapr-api.md §16.3). */
export const log: Layer = {
  name: "log",
  wrap(next, subject) {
    const { enabled, obfuscateURLs, omitHealthChecks } = subject.configuration.apiLogging;
    if (!enabled || (omitHealthChecks && subject.isProbe)) return undefined;
    const sink = subject.telemetry.log.scope(`dapr.runtime.${subject.protocol}-info`);
    const message = subject.protocol === "http" ? "HTTP API Called" : "gRPC API Called";
    return (call) => {
      const startedMs = performance.now();
      return observed(next, call, subject, ({ code, bytes }) => {
        const fields: LogFields = {
          method: obfuscateURLs && subject.protocol === "http" ? subject.operation : call.label,
          duration: Math.floor(performance.now() - startedMs),
          code,
        };
        const useragent = call.header("user-agent");
        if (useragent !== undefined) fields.useragent = useragent;
        if (subject.protocol === "http") fields.size = bytes;
        sink.info(fields, message);
      });
    };
  },
};
