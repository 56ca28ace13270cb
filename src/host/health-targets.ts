import type { HealthTargets } from "../api/call.ts";

/** The readiness flags behind /v1.0/healthz, in registration order. */
export function createHealthTargets(): HealthTargets {
  const targets = new Map<string, boolean>();
  let isOutboundReady = false;
  return {
    set: (target, isReady) => void targets.set(target, isReady),
    unready: () => [...targets].filter(([, isReady]) => !isReady).map(([name]) => name),
    isOutboundReady: () => isOutboundReady,
    setOutboundReady: (isReady) => {
      isOutboundReady = isReady;
    },
  };
}
