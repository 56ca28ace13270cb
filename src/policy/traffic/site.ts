import type { UseContext } from "../use/layer.ts";
import type { BlockMeter } from "./meter.ts";
import type { RetryBudget } from "./retry-budget.ts";

/** Where the blocks of TrafficPolicies stand: one target, with what they share there. */
export interface Site {
  context: UseContext;
  meterOf(block: string): BlockMeter;
  /** Of what the nearest policy says: the higher, the nearer to where the call ends up. */
  rank: number;
  /** Absent: repeats have no common bound. */
  budget: RetryBudget | undefined;
}
