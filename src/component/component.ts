import type { Edges } from "../edges/edges.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Binding } from "./binding.ts";
import type { ConfigurationStore } from "./configuration-store.ts";
import type { Conversation } from "./conversation.ts";
import type { CryptoProvider } from "./crypto-provider.ts";
import type { Fields, Options } from "./fields.ts";
import type { HttpMiddleware } from "./http-middleware.ts";
import type { LockStore } from "./lock-store.ts";
import type { NameResolver } from "./name-resolver.ts";
import type { PubSub } from "./pubsub.ts";
import type { SecretStore } from "./secret-store.ts";
import type { StateStore } from "./state-store.ts";

/** What each kind of component opens into. The kind is the part of the type before the first dot. */
export interface ComponentKinds {
  state: StateStore;
  pubsub: PubSub;
  secretstores: SecretStore;
  configuration: ConfigurationStore;
  lock: LockStore;
  crypto: CryptoProvider;
  conversation: Conversation;
  bindings: Binding;
  middleware: HttpMiddleware;
  nameresolution: NameResolver;
}
export type ComponentKind = keyof ComponentKinds;

/** What a component gets from its surroundings. */
export interface ComponentHost {
  /** `metadata.name` of the resource. */
  name: string;
  appId: string;
  namespace: string;
  log: Log;
  /** Clock, chance, files, sockets. */
  edges: Edges;
  /** The metadata that no field is for, where the definition takes such. */
  otherFields?: ReadonlyMap<string, string>;
  /** All metadata as spelled, resolved, for what is handed on whole. */
  allFields?: ReadonlyMap<string, string>;
  /** Environment variables, handed down from the host. */
  env: Readonly<Record<string, string | undefined>>;
}

export interface ComponentDefinition<K extends ComponentKind = ComponentKind, F extends Fields = Fields> {
  /** Equals the file's path: `components/state/redis.ts` is `state.redis`. */
  type: `${K}.${string}`;
  version: "v1" | "v2" | "v3";
  status: "stable" | "beta" | "alpha";
  summary: string;
  /** The npm package that `open` loads lazily; absent when there is none. */
  package?: string;
  metadata: F;
  /** Its metadata may have any names. */
  takesOtherFields?: true;
  open(options: Options<F>, host: ComponentHost): Promise<ComponentKinds[K]>;
}

/** Declares a component; its fields give the types of `open`'s options, the docs, the JSON Schema and redaction. */
export function component<K extends ComponentKind, const F extends Fields>(
  definition: ComponentDefinition<K, F>,
): ComponentDefinition<K, F> {
  return definition;
}
