import type { CircuitBreakerSpec } from "../../resource/traffic.ts";
import { Breaker, type BreakerState } from "../resilience/breaker.ts";
import { hasCallerLeft } from "../resilience/policy.ts";
import { compileTrip } from "../resilience/trip.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import type { BlockMeter } from "./meter.ts";
import { givenBack, isTargetsFailure, outcomeOf } from "./outcome.ts";
import type { Site } from "./site.ts";

const states: readonly BreakerState[] = ["closed", "half-open", "open"];

/** Dapr's circuit breaker, once for a target: what is the caller's fault does not count against it. */
export function openCircuitBreaker(spec: CircuitBreakerSpec, { context, meterOf }: Site): UseLayer {
  const meter = meterOf("circuitBreaker");
  const breaker = new Breaker(
    {
      probesMax: spec.maxRequests,
      clearMs: spec.intervalMs,
      openMs: spec.timeoutMs,
      trip: spec.trip,
    },
    {
      clock: context.clock,
      trip: compileTrip(spec.trip, (error) => meter.log.warn({ error }, "trip is not valid CEL")),
      changed(state) {
        const { policy, target } = meter;
        meter.log.info({ policy, target, state }, "a circuit breaker changed its state");
        show(meter, state);
        meter.did(state);
      },
    },
  );
  show(meter, "closed");
  return {
    async run<T>(_use: Use, work: Work<T>, shape: Shape<T>) {
      const passage = enter(breaker, meter);
      const outcome = await outcomeOf(() => work(shape.signal), shape);
      if (outcome.kind === "error" && hasCallerLeft(shape.signal)) passage.abandoned();
      else isTargetsFailure(outcome, shape) ? passage.failed() : passage.succeeded();
      return givenBack(outcome);
    },
  };
}

function enter(breaker: Breaker, meter: BlockMeter): ReturnType<Breaker["enter"]> {
  try {
    return breaker.enter();
  } catch (error) {
    meter.did("rejected");
    throw error;
  }
}

function show(meter: BlockMeter, current: BreakerState): void {
  for (const state of states) meter.gauge("breaker_state", { state }).set(state === current ? 1 : 0);
}
