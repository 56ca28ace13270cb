import type { ComponentKind, ComponentKinds } from "../component/component.ts";
import type { LoadedComponent } from "../component/components.ts";
import type { AttemptEnd } from "../kit/cancellation.ts";
import { ComponentMeter } from "../policy/component-meter.ts";
import type { ResiliencePolicy } from "../policy/resilience/policy.ts";
import type { Block, GivenAnswer } from "../policy/use/layer.ts";
import { type PlacedLayers, runPlaced } from "../policy/use/use-policies.ts";
import type { AppScope, Call } from "./call.ts";
import { isPermanentFailure, resilienceOf } from "./resilience.ts";

/** A component as one app's operations call it: inside the layers of the target side. */
export interface Target<K extends TargetKind> {
  readonly name: string;
  readonly component: ComponentKinds[K];
  readonly loaded: LoadedComponent<K>;
  /** Calls the component inside the layers of the target side: a meter around all attempts, the policies around each. */
  run<T>(operation: string, work: Attempt<T>, call: TargetCall, more?: RunDetails<T>): Promise<T>;
}

/** One try. It is told how it ends when a policy may end it; else it lasts as long as it likes. */
type Attempt<T> = (ended?: AbortSignal | AttemptEnd) => Promise<T>;

/** Of the call on whose behalf a component is used; what mecha does by itself has only the signal. */
export type TargetCall = Pick<Call, "signal"> & Partial<Pick<Call, "header" | "setReplyHeader">>;

export interface RunDetails<T> {
  /** What is used in the component, for policies: keys in the store, a secret, a lock. */
  names?: readonly string[];
  /** Lets go of a result that came too late. */
  dispose?(late: T): void;
}

const nameless: readonly string[] = [];

/** Kinds whose components apps call. */
export type TargetKind = Exclude<ComponentKind, "middleware" | "nameresolution">;

/** The metric family of a kind: `component_<family>_count`. */
const families: Record<TargetKind, string> = {
  state: "state",
  pubsub: "pubsub_egress",
  secretstores: "secret",
  configuration: "configuration",
  lock: "lock",
  crypto: "crypto",
  conversation: "conversation",
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
    run(operation, work, call, more) {
      // Asked each time: the policies change with the resources, and there are mostly none.
      const resilience = resilienceOf(app)?.component(loaded.kind, loaded.name, "outbound");
      const block: Block = loaded.kind === "pubsub" ? "publish" : loaded.kind;
      const placed = app.policies.at(block, loaded.name);
      const isPlain = resilience === undefined && placed === undefined;
      const attempts = isPlain
        ? work
        : () => governed({ resilience, placed }, { operation, work, call, ...more });
      // As Dapr counts: a model has one operation.
      const counted = loaded.kind === "conversation" ? "" : operation;
      return meter === undefined ? attempts() : measured(meter, counted, attempts);
    },
  };
}

/** Where there is no answer but an error. */
export function throwAnswer(call: TargetCall, { fault, headers = [] }: GivenAnswer): never {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    call.setReplyHeader?.(headers[i] as string, headers[i + 1] as string);
  }
  throw fault;
}

interface Governed<T> extends RunDetails<T> {
  operation: string;
  work: Attempt<T>;
  call: TargetCall;
}

function governed<T>(
  policies: { resilience: ResiliencePolicy | undefined; placed: PlacedLayers | undefined },
  { operation, work, call, names = nameless, dispose }: Governed<T>,
): Promise<T> {
  const header = (lowerName: string): string | undefined => call.header?.(lowerName);
  return runPlaced(policies, { operation, names, header, isRuntimes: call.header === undefined }, work, {
    signal: call.signal,
    isPermanent: isPermanentFailure,
    answer: (given) => throwAnswer(call, given),
    ...(dispose && { dispose }),
  });
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
