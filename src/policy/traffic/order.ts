import type { TrafficPolicySpec } from "../../resource/traffic.ts";
import type { UseLayer } from "../use/layer.ts";
import { openAdaptiveConcurrency } from "./adaptive-concurrency.ts";
import { openAdmissionControl } from "./admission-control.ts";
import { openCircuitBreaker } from "./circuit-breaker.ts";
import { openFallback } from "./fallback.ts";
import { openFault } from "./fault.ts";
import { openHedging } from "./hedging.ts";
import { openRetries } from "./retries.ts";
import type { Site } from "./site.ts";

export const blockNames = [
  // Outermost, so that it also answers for what the blocks below refuse: Hystrix' order.
  "fallback",
  // Above all that learns from the target, which it must not teach; above retries, as in Envoy and Istio.
  "fault",
  // By the share that succeeds in the end, so above retries; what it refuses takes no place of the next.
  "admissionControl",
  // A use holds its place for all its tries.
  "adaptiveConcurrency",
  // Not a layer: the count that the next two share.
  "retryBudget",
  "retries",
  // Within a try: its hedges end with it.
  "hedging",
  // Round each single try, so that an open breaker is seen at once by the tries above.
  "circuitBreaker",
] as const satisfies readonly (keyof TrafficPolicySpec)[];
export type BlockName = (typeof blockNames)[number];

type Openers = {
  [N in Exclude<BlockName, "retryBudget">]: (spec: NonNullable<TrafficPolicySpec[N]>, site: Site) => UseLayer;
};

const openers: Openers = {
  fallback: openFallback,
  fault: openFault,
  admissionControl: openAdmissionControl,
  adaptiveConcurrency: openAdaptiveConcurrency,
  retries: openRetries,
  hedging: openHedging,
  circuitBreaker: openCircuitBreaker,
};

/** The layer of a block that is configured. */
export function openBlock(name: BlockName, specs: Pick<TrafficPolicySpec, BlockName>, site: Site): UseLayer {
  if (name === "retryBudget") return counted(site);
  const open = <N extends keyof Openers>(of: N): UseLayer =>
    openers[of](specs[of] as NonNullable<TrafficPolicySpec[N]>, site);
  return open(name);
}

/** Everything under way counts for the budget. */
function counted({ budget, meterOf }: Site): UseLayer {
  const shown = meterOf("retryBudget").gauge("repeats_active");
  return {
    async run(_use, work, { signal }) {
      const leave = budget?.enter();
      try {
        return await work(signal);
      } finally {
        leave?.();
        shown.set(budget?.repeats ?? 0);
      }
    },
  };
}
