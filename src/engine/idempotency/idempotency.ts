import type { AppChannel } from "../../app/channel.ts";
import type { Components } from "../../component/components.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Invoker } from "../../peer/invoker.ts";
import type { IdempotencyResource } from "../../resource/resource.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { BindingGuardOf } from "../bindings/guard.ts";
import type { PubSubEngine } from "../pubsub/engine.ts";
import type { EventGuard, GuardOf } from "../pubsub/guard.ts";
import { type Mutation, type Store, StoreConflict } from "../store/store.ts";
import type { StartGuardOf } from "../workflow/start-guard.ts";
import { InputBindingGuard } from "./binding-guard.ts";
import { effectMutations } from "./effect-mutations.ts";
import { SubscriptionGuard } from "./event-guard.ts";
import { HttpLayer } from "./http-layer.ts";
import { Outbox } from "./outbox.ts";
import { outboxTopic } from "./outbox-message.ts";
import { compilePolicies, type Policies, type Policy } from "./policy.ts";
import { EffectConflict, Records } from "./records.ts";
import { spacesOf } from "./spaces.ts";
import { WorkflowStartGuard } from "./start-guard.ts";

export interface IdempotencyOptions {
  principal: { namespace: string; appId: string };
  store: Store;
  edges: Edges;
  telemetry: Telemetry;
  components: Components;
  /** Where the layer of calls hangs; `undefined`: the app has no port. */
  channel: AppChannel | undefined;
  pubsub: () => PubSubEngine;
  invoker: () => Pick<Invoker, "invokeHttp">;
}

/** Handles each key once for one app, and applies the effects its handlers answer with. */
export interface Idempotency {
  readonly guardOf: GuardOf;
  readonly startGuardOf: StartGuardOf;
  readonly bindingGuardOf: BindingGuardOf;
  /** Takes the resources; rejects, and keeps the ones before, when one can not be used. */
  apply(resources: readonly IdempotencyResource[]): Promise<void>;
  close(): Promise<void>;
}

export function createIdempotency(options: IdempotencyOptions): Idempotency {
  return new AppIdempotency(options);
}

const nobody = new Map<string, Policy>();
const none: Policies = { app: undefined, subscriptions: nobody, workflows: nobody, bindings: nobody };

class AppIdempotency implements Idempotency {
  readonly guardOf: GuardOf;
  readonly startGuardOf: StartGuardOf;
  readonly bindingGuardOf: BindingGuardOf;
  readonly #options: IdempotencyOptions;
  readonly #records: Records;
  readonly #outbox: Outbox;
  #policies = none;
  #guards = new Map<string, EventGuard | undefined>();

  constructor(options: IdempotencyOptions) {
    const { store, edges, telemetry, principal, invoker } = options;
    this.#options = options;
    this.#records = new Records({
      store,
      clock: edges.clock,
      log: telemetry.log,
      lease: `idempotency:${principal.namespace}:${principal.appId}:${edges.random.uuid()}`,
    });
    this.#outbox = new Outbox({ store, edges, telemetry, invoker, topic: outboxTopic(principal) });
    this.guardOf = ({ name = "", pubsubName, topic }) => {
      const { subscriptions } = this.#policies;
      if (subscriptions.size === 0) return undefined;
      const address = `${pubsubName}/${topic}`;
      const policy = subscriptions.get(name) ?? subscriptions.get(address);
      return policy && this.#guard(policy, address);
    };
    const parts = { records: this.#records, spaceOf: spacesOf(principal) };
    this.startGuardOf = (workflow) => {
      const policy = this.#policies.workflows.get(workflow);
      return policy && new WorkflowStartGuard(policy, parts);
    };
    this.bindingGuardOf = (component) => {
      const policy = this.#policies.bindings.get(component);
      return policy && new InputBindingGuard(policy, { ...parts, component });
    };
  }

  async apply(resources: readonly IdempotencyResource[]): Promise<void> {
    const { principal, channel } = this.#options;
    this.#policies = resources.length === 0 ? none : await compilePolicies(resources, principal.appId);
    this.#guards = new Map();
    const { app } = this.#policies;
    if (channel !== undefined) channel.inbound = app && new HttpLayer(app, this.#layerOptions());
    // Calls from before go out, even when nothing asks for new ones any more.
    if (resources.length > 0 || (await this.#outbox.hasCalls())) await this.#outbox.start();
  }

  async close(): Promise<void> {
    const { channel } = this.#options;
    if (channel !== undefined) channel.inbound = undefined;
    await this.#outbox.close();
    await this.#records.close();
  }

  #guard(policy: Policy, subscription: string): EventGuard {
    const name = `${policy.name}\n${subscription}`;
    let guard = this.#guards.get(name);
    if (guard === undefined) {
      guard = new SubscriptionGuard(policy, { ...this.#layerOptions(), subscription });
      this.#guards.set(name, guard);
    }
    return guard;
  }

  #layerOptions() {
    const { store, edges, telemetry, principal, components, pubsub } = this.#options;
    const { clock, random } = edges;
    const context = { principal, components, pubsub, clock, outboxTopic: outboxTopic(principal) };
    return {
      records: this.#records,
      clock,
      log: telemetry.log.scope("dapr.runtime.idempotency"),
      spaceOf: spacesOf(principal),
      newId: () => random.uuid(),
      mutationsOf: (...[effects, input]: Take) => effectMutations(effects, input, context),
      commit: (mutations: readonly Mutation[]) => commitEffects(store, mutations),
    };
  }
}

type Take = [Parameters<typeof effectMutations>[0], Parameters<typeof effectMutations>[1]];

async function commitEffects(store: Store, mutations: readonly Mutation[]): Promise<void> {
  try {
    await store.commit(mutations);
  } catch (error) {
    throw error instanceof StoreConflict ? new EffectConflict(error.index, error) : error;
  }
}
