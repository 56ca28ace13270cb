import type { AppChannel } from "../app/channel.ts";
import type { ActorPeer } from "./actor-link.ts";
import type { AppName } from "./identity.ts";

/** An app whose runtime is this process. */
export interface LocalTarget {
  readonly name: AppName;
  /** Of this instance, as it announces them. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** `undefined` when the app has no port. */
  readonly channel: AppChannel | undefined;
  /** Present when the app hosts actors. */
  readonly actors?: ActorPeer | undefined;
  /** What the callee lets in (dapr-api.md §13.3): throws, or rejects with, a GrpcError PERMISSION_DENIED. */
  readonly authorize?: ((call: InboundCall) => void | Promise<void>) | undefined;
}

/** Who wants what of an app. */
export interface InboundCall {
  caller: AppName;
  /** Of the caller (dapr-api.md §13.2). */
  trustDomain: string;
  /** `/method/path` or `/package.Service/Method`. */
  operation: string;
  /** The HTTP verb; empty for gRPC. */
  verb: string;
  /** Of the call, by lower-case name. */
  header(lowerName: string): string | undefined;
}

/** The apps of this process by name: one in sidecar mode, many in node mode. */
export class LocalTargets {
  readonly #byName = new Map<string, LocalTarget>();

  /** Answers how to take it back. */
  register(name: AppName, target: Omit<LocalTarget, "name">): () => void {
    const key = keyOf(name);
    const entry: LocalTarget = { ...target, name };
    this.#byName.set(key, entry);
    return () => {
      if (this.#byName.get(key) === entry) this.#byName.delete(key);
    };
  }

  get(name: AppName): LocalTarget | undefined {
    return this.#byName.get(keyOf(name));
  }
}

function keyOf({ namespace, appId }: AppName): string {
  return `${namespace}/${appId}`;
}
