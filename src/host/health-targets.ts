import type { HealthTargets } from "../api/call.ts";

/** The readiness flags behind /v1.0/healthz, in registration order. */
export function createHealthTargets(): HealthTargets {
  const targets = new Map<string, boolean>();
  const listeners: (() => void)[] = [];
  let isOutboundReady = false;
  return {
    set(target, isReady) {
      targets.set(target, isReady);
      for (const listener of listeners) listener();
    },
    onChange: (listener) => void listeners.push(listener),
    unready: () => [...targets].filter(([, isReady]) => !isReady).map(([name]) => name),
    isOutboundReady: () => isOutboundReady,
    setOutboundReady: (isReady) => {
      isOutboundReady = isReady;
    },
  };
}
