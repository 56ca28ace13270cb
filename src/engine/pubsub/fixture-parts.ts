import type { ComponentChange, Components, LoadedComponent } from "../../component/components.ts";
import type {
  IncomingMessage,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import { simulatedEdges } from "../../edges/simulated.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log, LogFields, Telemetry } from "../../telemetry/telemetry.ts";
import { createTracer } from "../../telemetry/tracer.ts";
import { defaultLimits, type PubSubContext, type PubSubLimits, topicsCache } from "./context.ts";
import { oneAttempt } from "./outcome.ts";
import type { Subscription } from "./subscription.ts";

/** A broker that keeps what is published and lets the test hand messages to subscribers. */
export class StubBroker implements PubSub {
  readonly features: Set<PubSubFeature>;
  readonly published: OutgoingMessage[] = [];
  readonly subscriptions: { request: SubscribeRequest; handler: MessageHandler; isClosed: boolean }[] = [];
  failure: Error | undefined;
  subscribeFailure: Error | undefined;

  constructor(features: PubSubFeature[] = []) {
    this.features = new Set(features);
  }

  async publish(message: OutgoingMessage): Promise<void> {
    if (this.failure) throw this.failure;
    this.published.push(message);
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler) {
    if (this.subscribeFailure) throw this.subscribeFailure;
    const entry = { request, handler, isClosed: false };
    const inFlight = new Set<Promise<void>>();
    entry.handler = (message) => {
      const handled = handler(message);
      const settled = handled.catch(() => {}).then(() => void inFlight.delete(settled));
      inFlight.add(settled);
      return handled;
    };
    this.subscriptions.push(entry);
    return {
      close: async () => {
        entry.isClosed = true;
        await Promise.all(inFlight);
      },
    };
  }

  get open() {
    return this.subscriptions.filter(({ isClosed }) => !isClosed);
  }

  /** Hands a message to the only open subscription of the topic. */
  deliver(message: Partial<IncomingMessage> & { topic: string; data: Uint8Array }): Promise<void> {
    const found = this.open.filter(({ request }) => request.topic === message.topic);
    if (found.length !== 1) throw new Error(`${found.length} subscriptions of ${message.topic}`);
    const { handler } = found[0] as (typeof found)[0];
    return handler({ contentType: "application/cloudevents+json", metadata: {}, ...message });
  }

  async close(): Promise<void> {}
}

export interface StubComponents extends Components {
  set(name: string, instance: PubSub, properties?: Record<string, string>, isNamespaceScoped?: boolean): void;
  remove(name: string): void;
}

export function stubComponents(): StubComponents {
  const loaded = new Map<string, LoadedComponent<"pubsub">>();
  const listeners = new Set<(change: ComponentChange) => void>();
  const tell = (name: string, action: ComponentChange["action"]): void => {
    for (const listener of listeners) listener({ kind: "pubsub", name, action });
  };
  return {
    set(name, instance, properties = {}, isNamespaceScoped = false) {
      const action = loaded.has(name) ? "replaced" : "added";
      loaded.set(name, {
        kind: "pubsub",
        type: "pubsub.stub",
        version: "v1",
        capabilities: [],
        properties: new Map(Object.entries(properties)),
        name,
        instance,
        isNamespaceScoped,
      });
      tell(name, action);
    },
    remove(name) {
      loaded.delete(name);
      tell(name, "removed");
    },
    find: ((kind: string, name: string) =>
      kind === "pubsub" ? loaded.get(name) : undefined) as Components["find"],
    list: ((kind: string) => (kind === "pubsub" ? [...loaded.values()] : [])) as Components["list"],
    all: () => [],
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => {},
  };
}

/** Telemetry whose log lines can be read. */
export function recordedTelemetry(): Telemetry & { lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (_fields: LogFields, message: string) =>
    void lines.push(`${level} ${message}`);
  const log: Log = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
    scope: () => log,
  };
  return { log, metrics: createMetrics(), tracer: createTracer(0, undefined), lines };
}

export function stubContext(
  components: Components,
  limits: Partial<PubSubLimits> = {},
): PubSubContext & {
  telemetry: ReturnType<typeof recordedTelemetry>;
  edges: ReturnType<typeof simulatedEdges>;
} {
  const identity = { namespace: "shop", appId: "orders" };
  const telemetry = recordedTelemetry();
  return {
    identity,
    components,
    telemetry,
    log: telemetry.log,
    edges: simulatedEdges(1),
    guardOf: () => undefined,
    inbound: oneAttempt,
    isStrict: false,
    limits: { ...defaultLimits, ...limits },
    topicsOf: topicsCache(identity),
  };
}

export function subscriptionTo(topic: string, parts: Partial<Subscription> = {}): Subscription {
  return {
    pubsubName: "bus",
    metadata: {},
    rules: [{ match: "", path: "/inbox" }],
    deadLetterTopic: "",
    bulk: undefined,
    type: "DECLARATIVE",
    topic,
    ...parts,
  };
}

export function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString("utf8");
}

export function jsonOf(bytes: Uint8Array | undefined): Record<string, unknown> {
  return JSON.parse(textOf(bytes)) as Record<string, unknown>;
}

/** Waits for a condition, with a deadline instead of hope. */
export async function eventually(
  condition: () => boolean,
  what = "the condition",
  deadlineMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`${what} did not come true within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
