import type { FallbackSpec } from "../../resource/traffic.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import type { BlockMeter } from "./meter.ts";
import { forget, givenBack, type Outcome, outcomeOf, reasonsOf } from "./outcome.ts";
import { refusal } from "./refused.ts";
import type { Site } from "./site.ts";

/** Another answer when there is none, or a failure: one that was kept, one that is written down, or one of another app. */
export function openFallback(spec: FallbackSpec, { meterOf }: Site): UseLayer {
  const meter = meterOf("fallback");
  const on = new Set<string>(spec.on);
  return {
    // The other app gets the request that the target got.
    repeats: spec.to !== undefined,
    async run<T>(_use: Use, work: Work<T>, shape: Shape<T>) {
      const { signal } = shape;
      const outcome = await outcomeOf(() => work(signal), shape);
      const isWanted = [...reasonsOf(outcome, shape)].some((reason) => on.has(reason));
      if (!isWanted || signal?.aborted) return givenBack(outcome);
      const stale = spec.staleCache ? await shape.stale?.() : undefined;
      if (stale !== undefined) {
        forget(outcome, shape);
        meter.did("stale-cache");
        return stale;
      }
      if (spec.to !== undefined) return elsewhere(spec, outcome, shape, meter);
      return spec.directResponse === undefined
        ? unable(outcome, meter)
        : written(spec, outcome, shape, meter);
    },
  };
}

function written<T>(
  { directResponse }: FallbackSpec,
  outcome: Outcome<T>,
  shape: Shape<T>,
  meter: BlockMeter,
): T {
  const { status = 503, body = "", contentType = "" } = directResponse ?? {};
  // A status of failure can be told everywhere, another only where it can be made a result.
  const make = status >= 400 ? shape.answer : shape.good;
  if (make === undefined) return unable(outcome, meter);
  forget(outcome, shape);
  meter.did("direct-response");
  const why = status >= 400 && body !== "" ? body : "fallback";
  return make(refusal({ why, http: status, headers: ["Content-Type", contentType], body }));
}

async function elsewhere<T>(
  { to }: FallbackSpec,
  outcome: Outcome<T>,
  shape: Shape<T>,
  meter: BlockMeter,
): Promise<T> {
  const { isRepeatable, signal } = shape;
  const canRepeat = typeof isRepeatable === "function" ? isRepeatable() : isRepeatable !== false;
  if (to === undefined || shape.elsewhere === undefined || !canRepeat) return unable(outcome, meter);
  forget(outcome, shape);
  meter.did("elsewhere");
  return shape.elsewhere(to.id, to.path === "/" ? "" : to.path, signal);
}

function unable<T>(outcome: Outcome<T>, meter: BlockMeter): T {
  meter.did("not-applicable");
  return givenBack(outcome);
}
