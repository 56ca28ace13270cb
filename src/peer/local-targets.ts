import type { AppChannel } from "../app/channel.ts";
import type { RawHeaders } from "../net/http1/types.ts";
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
  /** What the callee lets in (dapr-api.md §13.3): throws, or rejects with, a GrpcError, often a Refusal. */
  readonly authorize?: ((call: InboundCall) => Admission | Promise<Admission>) | undefined;
}

/** What is changed of the headers before the app gets them. */
export type Admission = { remove: ReadonlySet<string>; add: RawHeaders } | undefined;

/** Who wants what of an app. */
export interface InboundCall {
  caller: AppName;
  /** Of the caller (dapr-api.md §13.2). */
  trustDomain: string;
  /** The app calls itself: Dapr's access control is not for that. */
  isSelf: boolean;
  /** Of `http` the operation is percent-encoded, of a legacy `method` and of `grpc` it is literal. */
  form: "http" | "method" | "grpc";
  /** A certificate names the caller. */
  isProven?: boolean | undefined;
  /** `/method/path` or `/package.Service/Method`. */
  operation: string;
  /** Without its question mark. */
  query: string;
  /** The HTTP verb; empty for gRPC. */
  verb: string;
  /** Of the call, by lower-case name. */
  header(lowerName: string): string | undefined;
  /** Names and values as the app would get them. */
  lines(): RawHeaders;
  /** Whom the call came from, as an IP address; empty when it came by a socket file. */
  address: string;
  /** It becomes a connection that nobody looks into. */
  isUpgrade?(): boolean;
  /**
   * What its body begins with, at most so many bytes: of gRPC its messages in their frames. Who can do with a start gets
   * of a stream of messages the first one.
   */
  bodyStart(bytesMax: number, needsWhole?: boolean): Promise<BodyStart>;
}

export interface BodyStart {
  bytes: Uint8Array;
  /** There is no more. */
  isWhole: boolean;
  /** Messages that go on after the first one, nobody knows how long. */
  isStream?: boolean;
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
