import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Fault } from "../../errors.ts";
import type { AttemptEnd } from "../../kit/cancellation.ts";
import type { TryOwner } from "../../kit/try-owner.ts";
import type { Resource } from "../../resource/resource.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { RunOptions } from "../resilience/policy.ts";

/**
 * What is used. `deliver` is an event on its way to the app, `input` an event of an input binding, `activity` a step of
 * a workflow on its way to a worker, `workflow` what is done with its instances; `route` and `grpcRoute` are calls that go by
 * a route, `version` those that it sends to one version of an app, `gateway` what comes in by a Gateway; the others are calls
 * of the app.
 */
export const blocks = [
  "invoke",
  "grpc",
  "route",
  "grpcRoute",
  "version",
  "gateway",
  "state",
  "publish",
  "deliver",
  "bindings",
  "input",
  "actor",
  "activity",
  "workflow",
  "secretstores",
  "configuration",
  "lock",
  "crypto",
  "conversation",
] as const;
export type Block = (typeof blocks)[number];

/** Where mecha's own policies stand. The layers of a place are put together once. */
export interface Place {
  block: Block;
  /**
   * The component; of calls the id as the caller gave it; the actor's type; the activity's name; of a route or Gateway its
   * name, or `name/section` for one of its rules or listeners; of a version `app-version`. Of workflows the name, or nothing when the instance is not there or not one.
   */
  target: string;
}

/** One use of a place. */
export interface Use {
  /** `get`, `set`, `publish`, an HTTP verb … */
  operation: string;
  /** Keys in the store, topics, the actor's or instance's id; of calls the raw method path without its query, of gRPC calls the path. */
  names: readonly string[];
  /** Of actors. */
  method?: string | undefined;
  /** mecha's own doing, for no call of the app. */
  isRuntimes?: boolean | undefined;
  /** Of the caller, by lower-case name. */
  header(lowerName: string): string | undefined;
  /** Of a call: ids of the instances that tries before had. A policy that chooses prefers others. */
  previousHosts?: Set<string>;
  /** Of a call: which of the policies on its way tries again. */
  tries?: TryOwner | undefined;
  /** Events of a bulk; absent: 1. */
  count?: number;
}

/** Told how it ends; `undefined`: when the caller leaves. */
export type Work<T> = (ended: AbortSignal | AttemptEnd | undefined) => Promise<T>;

/** An answer that no target gave: the fault stands for it where there are no answers but errors. */
export interface GivenAnswer {
  fault: Fault;
  /** Lines for HTTP. */
  headers?: readonly string[];
  /** Instead of the fault as JSON. */
  body?: string | undefined;
}

/** What layers can know and make of the results of a kind of use. */
export interface Shape<T> extends RunOptions<T> {
  /** The result that stands for an answer which no target gave; or throws. */
  answer(given: GivenAnswer): T;
  /** A good result made of an answer that no target gave; absent: there is none. */
  good?(given: GivenAnswer): T;
  /** The same use, of a path of another app; the path may be empty: that of the use. Absent: there is no such thing. */
  elsewhere?(id: string, path: string, signal: AbortSignal | undefined): Promise<T>;
  /** What a cache has of an earlier answer, however old. Absent: there is no cache. */
  stale?(): Promise<T | undefined>;
  /** A header of the answer, by lower-case name. */
  headerOf?(result: T, lowerName: string): string | undefined;
  /** The same answer, its body not faster than that; it waits by `pause`. */
  slowed?(result: T, bytesPerSecond: number, pause: (ms: number) => Promise<void>): T;
  /** False: two tries can not be under way at once. */
  canOverlap?: boolean;
  /** The result with more header lines; absent where there are none to see. */
  headed?(result: T, headers: readonly string[]): T;
}

/** One policy round the uses of a place. */
export interface UseLayer {
  /** Whether a request has to be kept to be sent again. */
  readonly repeats?: boolean;
  run<T>(use: Use, work: Work<T>, shape: Shape<T>): Promise<T>;
}

/** Small texts that all who share a store see, changed by compare and set. What can not be reached rejects. */
export interface Counters {
  read(key: string): Promise<{ value: string; etag: string } | undefined>;
  /** `etag` of what was read; absent: there was nothing. Answers false when somebody else was faster. */
  write(
    key: string,
    change: { value: string; etag?: string | undefined; expiresAtMs: number },
  ): Promise<boolean>;
}

export interface UseContext {
  principal: { namespace: string; appId: string };
  /** Of the app; absent: `public`. */
  trustDomain?(): string;
  telemetry: Telemetry;
  clock: Clock;
  random: Random;
  /** Absent: nothing is shared. */
  counters?: Counters | undefined;
}

/** The opened policies of one kind of layer. */
export interface OpenedLayers {
  /** `undefined`: nothing to do at that place, and nothing is paid. */
  at(place: Place): UseLayer | undefined;
  close?(): void;
}

/** A kind of layer as the list in `layers.ts` has it. */
export interface UseLayerKind {
  name: string;
  /** The resources it follows; opened anew only when one of them has changed. */
  kinds: readonly string[];
  /** `undefined`: nothing is configured. What resources say as they did `before` keeps what it knows. */
  open(resources: readonly Resource[], context: UseContext, before?: OpenedLayers): OpenedLayers | undefined;
}
