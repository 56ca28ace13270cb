import type { Counter, Gauge, Log } from "../../telemetry/telemetry.ts";
import type { UseContext } from "../use/layer.ts";

/** Of one block at one target: what it did, for metrics and the log. */
export interface BlockMeter {
  /** The name of the policy. */
  readonly policy: string;
  /** `App orders`. */
  readonly target: string;
  readonly log: Log;
  did(what: string): void;
  gauge(name: string, labels?: Record<string, string>): Gauge;
}

export interface Metered {
  policy: string;
  target: string;
  block: string;
}

export function createBlockMeter(
  { telemetry, principal }: UseContext,
  { policy, target, block }: Metered,
): BlockMeter {
  const counters = new Map<string, Counter>();
  const labels = { app_id: principal.appId, namespace: principal.namespace, policy, target };
  return {
    policy,
    target,
    log: telemetry.log.scope("mecha.traffic"),
    did(what) {
      let counter = counters.get(what);
      if (counter === undefined) {
        counter = telemetry.metrics.counter("mecha/traffic/activations_total", { ...labels, block, what });
        counters.set(what, counter);
      }
      counter.add();
    },
    gauge: (name, more) => telemetry.metrics.gauge(`mecha/traffic/${name}`, { ...labels, ...more }),
  };
}
