import type { ComponentKind, ComponentKinds } from "../component/component.ts";
import type { LoadedComponent } from "../component/components.ts";
import { ComponentMeter } from "../policy/component-meter.ts";
import type { ResiliencePolicy } from "../policy/resilience/policy.ts";
import type { AppScope, Call } from "./call.ts";
import { isPermanentFailure, resilienceOf } from "./resilience.ts";

/** A component as one app's operations call it: inside the layers of the target side. */
export interface Target<K extends TargetKind> {
  readonly name: string;
  readonly component: ComponentKinds[K];
  readonly loaded: LoadedComponent<K>;
  /** Calls the component inside the layers of the target side: a meter around all attempts, the policies around each. */
  run<T>(
    operation: string,
    work: () => Promise<T>,
    call: Pick<Call, "signal">,
    dispose?: (late: T) => void,
  ): Promise<T>;
}

/** Kinds whose components apps call. */
export type TargetKind = Exclude<ComponentKind, "middleware">;

/** The metric family of a kind: `component_<family>_count`. */
const families: Record<TargetKind, string> = {
  state: "state",
  pubsub: "pubsub_egress",
  secretstores: "secret",
  configuration: "configuration",
  lock: "lock",
  bindings: "output_binding",
};

/**
 * Looks components up by name for one kind of operation. What `open` makes of a component (its target, key prefix and
 * so on) is kept until a reload swaps the component.
 */
export function targetsOf<K extends TargetKind, T>(
  kind: K,
  open: (app: AppScope, target: Target<K>) => T,
): (app: AppScope, name: string) => T | undefined {
  const opened = new WeakMap<AppScope, Map<string, Opened<K, T>>>();
  return (app, name) => {
    const loaded = app.components.find(kind, name);
    if (loaded === undefined) return undefined;
    let byName = opened.get(app);
    if (byName === undefined) {
      byName = new Map();
      opened.set(app, byName);
    }
    const known = byName.get(name);
    if (known !== undefined && known.loaded === loaded) return known.made;
    const made = open(app, createTarget(app, loaded));
    byName.set(name, { loaded, made });
    return made;
  };
}

interface Opened<K extends TargetKind, T> {
  loaded: LoadedComponent<K>;
  made: T;
}

function createTarget<K extends TargetKind>(app: AppScope, loaded: LoadedComponent<K>): Target<K> {
  const meter = app.configuration.metrics.enabled
    ? new ComponentMeter(app.telemetry.metrics, {
        family: families[loaded.kind],
        appId: app.principal.appId,
        namespace: app.principal.namespace,
        component: loaded.name,
      })
    : undefined;
  return {
    name: loaded.name,
    component: loaded.instance,
    loaded,
    run(operation, work, call, dispose) {
      // Asked each time: the policies change with the resources, and there are mostly none.
      const policy = resilienceOf(app)?.component(loaded.kind, loaded.name, "outbound");
      const attempts = policy === undefined ? work : () => resilient(policy, work, call, dispose);
      return meter === undefined ? attempts() : measured(meter, operation, attempts);
    },
  };
}

function resilient<T>(
  policy: ResiliencePolicy,
  work: () => Promise<T>,
  { signal }: Pick<Call, "signal">,
  dispose: ((late: T) => void) | undefined,
): Promise<T> {
  return policy.run(work, { signal, isPermanent: isPermanentFailure, ...(dispose && { dispose }) });
}

async function measured<T>(meter: ComponentMeter, operation: string, work: () => Promise<T>): Promise<T> {
  const startedMs = performance.now();
  try {
    const result = await work();
    meter.record(operation, true, performance.now() - startedMs);
    return result;
  } catch (error) {
    meter.record(operation, false, performance.now() - startedMs);
    throw error;
  }
}
