import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Log } from "./telemetry.ts";

const exported = 0;

/** Says in the log when an exporter begins to fail and when it works again, once each: spans come by the thousand. */
export function watchedExporter(inner: SpanExporter, target: string, log: Log): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      inner.export(spans, (result) => {
        const failed = result.code !== exported;
        if (failed && !isFailing) {
          log.warn(
            { error: result.error ?? "unknown cause" },
            `spans can not be exported to ${target}; they are lost`,
          );
        }
        if (!failed && isFailing) log.info({}, `spans are exported to ${target} again`);
        isFailing = failed;
        done(result);
      });
    },
    shutdown: () => inner.shutdown(),
    forceFlush: () => inner.forceFlush?.() ?? Promise.resolve(),
  };
}
