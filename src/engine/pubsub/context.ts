import type { Components, LoadedComponent } from "../../component/components.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log, Telemetry } from "../../telemetry/telemetry.ts";
import type { GuardOf } from "./guard.ts";
import type { InboundPolicy } from "./outcome.ts";
import { type AppIdentity, Topics } from "./topics.ts";

/** What the parts of one app's engine share. */
export interface PubSubContext {
  identity: AppIdentity;
  components: Components;
  telemetry: Telemetry;
  log: Log;
  edges: Edges;
  inbound: InboundPolicy;
  guardOf: GuardOf;
  isStrict: boolean;
  limits: PubSubLimits;
  topicsOf(component: LoadedComponent<"pubsub">): Topics;
}

export interface PubSubLimits {
  /** One call to the app, from the first byte sent to the last byte of the answer. */
  deliveryTimeoutMs: number;
  /** How long closing waits for events in flight before it gives them back. */
  closeGraceMs: number;
  /** Events of one subscription in the app's hands at once. */
  concurrencyMax: number;
  /** A bulk delivery is sent at once when it holds this much. */
  bulkBytesMax: number;
}

export const defaultLimits: PubSubLimits = {
  // Dapr has no limit here; brokers do. Long handlers must survive, hung ones must not hold a place for ever.
  deliveryTimeoutMs: 600_000,
  closeGraceMs: 5_000,
  concurrencyMax: 64,
  bulkBytesMax: 3 * 1024 * 1024,
};

/** Topic rules per component, made once for each loaded instance. */
export function topicsCache(identity: AppIdentity): (component: LoadedComponent<"pubsub">) => Topics {
  const known = new WeakMap<object, Topics>();
  return (component) => {
    let topics = known.get(component.instance);
    if (topics === undefined) {
      topics = new Topics(component, identity);
      known.set(component.instance, topics);
    }
    return topics;
  };
}
