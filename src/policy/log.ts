import type { LogFields } from "../telemetry/telemetry.ts";
import { type Layer, type LayerCall, observed, type Subject } from "./layer.ts";

/** API logging: a line per call with the fields of Dapr (dapr-api.md §16.3). */
export const log: Layer = {
  name: "log",
  wrap(next, subject) {
    const write = apiLog(subject);
    if (write === undefined) return undefined;
    return (call) => {
      const startedMs = performance.now();
      return observed(next, call, subject, ({ code, bytes }) =>
        write(call, { code, bytes, tookMs: performance.now() - startedMs }),
      );
    };
  },
};

/** How a call ended, for its line. */
interface Ended {
  code: number;
  bytes: number;
  tookMs: number;
}

/** Writes the line of a call that ended; `undefined` when none is wanted. */
export function apiLog<R>(subject: Subject<R>): ((call: LayerCall, ended: Ended) => void) | undefined {
  const { enabled, obfuscateURLs, omitHealthChecks } = subject.configuration.apiLogging;
  if (!enabled || (omitHealthChecks && subject.isProbe)) return undefined;
  const isHttp = subject.protocol === "http";
  const sink = subject.telemetry.log.scope(`dapr.runtime.${subject.protocol}-info`);
  const message = isHttp ? "HTTP API Called" : "gRPC API Called";
  return (call, { code, bytes, tookMs }) => {
    const fields: LogFields = {
      method: obfuscateURLs && isHttp ? subject.operation : call.label,
      duration: Math.floor(tookMs),
      code,
    };
    const useragent = call.header("user-agent");
    if (useragent !== undefined) fields.useragent = useragent;
    if (isHttp) fields.size = bytes;
    sink.info(fields, message);
  };
}
