import type { AppScope } from "../api/call.ts";
import type { Counter } from "../telemetry/telemetry.ts";

/** Beginnings of error codes and the category Dapr files them under. */
const categories: readonly [start: string, category: string][] = [
  ["ERR_STATE", "state"],
  ["ERR_NOT_SUPPORTED_STATE", "state"],
  ["ERR_PUBSUB", "pubsub"],
  ["ERR_TOPIC", "pubsub"],
  ["ERR_PUBLISH", "pubsub"],
  ["ERR_SECRET", "secret"],
  ["ERR_PERMISSION", "secret"],
  ["ERR_CONFIGURATION", "configuration"],
  ["ERR_LOCK", "lock"],
  ["ERR_TRY_LOCK", "lock"],
  ["ERR_UNLOCK", "lock"],
  ["ERR_DIRECT_INVOKE", "service-invocation"],
  ["ERR_INVOKE_OUTPUT", "binding"],
  ["ERR_HEALTH", "health"],
  ["ERR_OUTBOUND", "health"],
  ["ERR_ACTOR", "actor"],
];

/** Counts error codes when `metrics.recordErrorCodes` asks for it: `error_code_total`. */
export function createErrorCounts(app: AppScope): ((code: string) => void) | undefined {
  const { enabled, recordErrorCodes } = app.configuration.metrics;
  if (!enabled || !recordErrorCodes) return undefined;
  const cells = new Map<string, Counter>();
  return (code) => {
    let cell = cells.get(code);
    if (cell === undefined) {
      const category = categories.find(([start]) => code.startsWith(start))?.[1] ?? "common";
      const labels = { app_id: app.principal.appId, error_code: code, category };
      cell = app.telemetry.metrics.counter("error_code_total", labels);
      cells.set(code, cell);
    }
    cell.add();
  };
}
