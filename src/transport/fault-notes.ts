import type { AppScope } from "../api/call.ts";
import { Fault } from "../errors.ts";
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
  ["ERR_CRYPTO", "crypto"],
  ["ERR_CONVERSATION", "conversation"],
  ["ERR_DIRECT_INVOKE", "service-invocation"],
  ["ERR_INVOKE_OUTPUT", "binding"],
  ["ERR_HEALTH", "health"],
  ["ERR_OUTBOUND", "health"],
  ["ERR_ACTOR", "actor"],
];

/** The code of what is no fault of the table: a mistake of mecha's own. */
const unexpected = Fault.from(undefined).code;

/** Writes a failed call down: in the log, at error level when nobody foresaw it, and in `error_code_total`. */
export function createFaultNotes(app: AppScope): (fault: Fault, label: string) => void {
  const countError = createErrorCounts(app);
  const { log } = app.telemetry;
  return (fault, label) => {
    countError?.(fault.code);
    const { code, hint } = fault;
    const fields = hint === undefined ? { error: fault } : { error: fault, hint };
    if (code === unexpected) log.error(fields, `${label} failed`);
    else log.debug(fields, `${label} failed`);
  };
}

/** Counts error codes when `metrics.recordErrorCodes` asks for it. */
function createErrorCounts(app: AppScope): ((code: string) => void) | undefined {
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
