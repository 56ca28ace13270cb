import type { AdmissionControlSpec } from "../../resource/traffic.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import { givenBack, isTargetsFailure, outcomeOf } from "./outcome.ts";
import { Refused, refusal } from "./refused.ts";
import type { Site } from "./site.ts";
import { SlidingCount } from "./sliding-count.ts";

const slotMs = 1000;

/** Envoy's client-side throttling: the less of it succeeds, the less of it is sent. */
export function openAdmissionControl(spec: AdmissionControlSpec, { context, meterOf }: Site): UseLayer {
  const { clock, random } = context;
  const meter = meterOf("admissionControl");
  const slots = Math.max(1, Math.round(spec.samplingWindowMs / slotMs));
  const requests = new SlidingCount(spec.samplingWindowMs, slots);
  const successes = new SlidingCount(spec.samplingWindowMs, slots);
  return {
    async run<T>(_use: Use, work: Work<T>, shape: Shape<T>) {
      const nowMs = clock.monotonicMs();
      const total = requests.total(nowMs);
      const isCalm = total / (spec.samplingWindowMs / 1000) < spec.rpsThreshold;
      const chance = isCalm ? 0 : rejectionChance(spec, total, successes.total(nowMs));
      if (chance > 0 && random.next() < chance) {
        meter.did("rejected");
        throw new Refused(refusal({ why: "denied by admission control", http: 503 }));
      }
      const outcome = await outcomeOf(() => work(shape.signal), shape);
      const endedMs = clock.monotonicMs();
      requests.add(endedMs);
      if (!isTargetsFailure(outcome, shape)) successes.add(endedMs);
      return givenBack(outcome);
    },
  };
}

/** https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/admission_control_filter */
export function rejectionChance(spec: AdmissionControlSpec, total: number, successes: number): number {
  const share = (total - successes / (spec.srThreshold / 100)) / (total + 1);
  return Math.min(Math.max(0, share) ** (1 / spec.aggression), spec.maxRejectionProbability / 100);
}
