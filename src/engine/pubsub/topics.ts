import type { LoadedComponent } from "../../component/components.ts";

/** On whose behalf the engine publishes and subscribes. */
export interface AppIdentity {
  namespace: string;
  appId: string;
}

/**
 * What one app may do with the topics of one component, and what the broker calls them: scopes and the namespace
 * prefix are invisible to the app (dapr-api.md §6.3).
 */
export class Topics {
  readonly consumerGroup: string;
  readonly #prefix: string;
  readonly #allowed: ReadonlySet<string>;
  readonly #protected: ReadonlySet<string>;
  readonly #publishing: ReadonlySet<string> | undefined;
  readonly #subscription: ReadonlySet<string> | undefined;

  constructor(component: LoadedComponent<"pubsub">, principal: AppIdentity) {
    const { properties } = component;
    this.consumerGroup = properties.get("consumerid") || principal.appId;
    this.#prefix = component.isNamespaceScoped ? principal.namespace : "";
    this.#allowed = new Set(listOf(properties.get("allowedtopics")));
    this.#protected = new Set(listOf(properties.get("protectedtopics")));
    this.#publishing = scopeOf(properties.get("publishingscopes"), principal.appId);
    this.#subscription = scopeOf(properties.get("subscriptionscopes"), principal.appId);
  }

  canPublish(topic: string): boolean {
    return this.#isAllowed(topic, this.#publishing);
  }

  canSubscribe(topic: string): boolean {
    return this.#isAllowed(topic, this.#subscription);
  }

  /** What the broker calls the app's topic. */
  toBroker(topic: string): string {
    return this.#prefix + topic;
  }

  /** What the app calls the broker's topic. */
  fromBroker(topic: string): string {
    return this.#prefix !== "" && topic.startsWith(this.#prefix) ? topic.slice(this.#prefix.length) : topic;
  }

  #isAllowed(topic: string, scope: ReadonlySet<string> | undefined): boolean {
    if (this.#allowed.size > 0 && !this.#allowed.has(topic)) return false;
    if (scope !== undefined) return scope.has(topic);
    return !this.#protected.has(topic);
  }
}

function listOf(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((topic) => topic.trim())
    .filter((topic) => topic !== "");
}

/** The app's part of `app1=t1,t2;app2=`: absent means everything, an empty list nothing. */
function scopeOf(text: string | undefined, appId: string): ReadonlySet<string> | undefined {
  for (const part of (text ?? "").split(";")) {
    const equals = part.indexOf("=");
    if (equals === -1 || part.slice(0, equals).trim() !== appId) continue;
    return new Set(listOf(part.slice(equals + 1)));
  }
  return undefined;
}
