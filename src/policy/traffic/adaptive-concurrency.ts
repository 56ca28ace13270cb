import type { AdaptiveConcurrencySpec } from "../../resource/traffic.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import { Gradient } from "./gradient.ts";
import { givenBack, isTargetsFailure, outcomeOf } from "./outcome.ts";
import { Refused, refusal } from "./refused.ts";
import type { Site } from "./site.ts";

/** No more at once than the target answers without growing slower. */
export function openAdaptiveConcurrency(spec: AdaptiveConcurrencySpec, { context, meterOf }: Site): UseLayer {
  const meter = meterOf("adaptiveConcurrency");
  const gradient = new Gradient(spec, context);
  const shown = meter.gauge("concurrency_limit");
  shown.set(gradient.limit);
  return {
    async run<T>(_use: Use, work: Work<T>, shape: Shape<T>) {
      const leave = gradient.enter();
      shown.set(gradient.limit);
      if (leave === undefined) {
        meter.did("rejected");
        throw new Refused(refusal({ why: "reached concurrency limit", http: 503 }));
      }
      const outcome = await outcomeOf(() => work(shape.signal), shape);
      // A failure may be quick for want of an answer, and would pass for a fast target.
      leave(outcome.kind === "result" && !isTargetsFailure(outcome, shape));
      return givenBack(outcome);
    },
  };
}
