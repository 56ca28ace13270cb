import type { TryOwner } from "../../kit/try-owner.ts";
import type { ProxyPolicy } from "../../net/grpc/types.ts";
import type { HttpReply, HttpRequest, RawHeaders } from "../../net/http1/types.ts";
import type { MethodAnswer } from "../on-invoke.ts";
import type { Backend } from "./backend.ts";

/** Where mecha's own policies stand on the way of a call that goes by a route. */
export interface RoutePlace {
  kind: "Gateway" | "HTTPRoute" | "GRPCRoute" | "AppVersion";
  /** `name/section` for a rule or listener that has a name. */
  name: string;
}

/** The policies at the places of routes. `undefined`: nothing is to be done there, and nothing is paid. */
export interface RoutePolicies {
  http(place: RoutePlace): RoutePolicy | undefined;
  /** Round calls of InvokeService. */
  method(place: RoutePlace): MethodPolicy | undefined;
  /** Round gRPC calls of the apps' own services. */
  grpc(place: RoutePlace, path: string): ProxyPolicy | undefined;
}

export interface RoutePolicy {
  /** Whether a request has to be kept to be sent again. */
  readonly repeats: boolean;
  /** `attempt` ends with the signal when it is given one. */
  run(call: PlacedCall, attempt: RouteAttempt): Promise<HttpReply>;
}

export interface PlacedCall {
  request: HttpRequest;
  /** Canonical, with its query. */
  target: string;
  isRepeatable: boolean;
  /** Besides its target, what tells answers apart without their saying so. Asked when answers are kept. */
  scope(): string;
  /** Names of headers that do so too. */
  apartBy?: readonly string[];
  tries?: TryOwner | undefined;
}

/** With other header lines than the request's, when there are any. */
export type RouteAttempt = (
  signal: AbortSignal | undefined,
  headers?: RawHeaders | undefined,
) => Promise<HttpReply>;

export interface MethodPolicy {
  run(
    call: PlacedMethod,
    attempt: (signal: AbortSignal | undefined) => Promise<MethodAnswer>,
  ): Promise<MethodAnswer>;
}

export interface PlacedMethod {
  verb: string;
  path: string;
  header(lowerName: string): string | undefined;
  signal: AbortSignal;
  tries: TryOwner;
}

/** Where the policies of a backend stand; `undefined`: it is no version of an app. */
export function placeOf(backend: Backend, namespace: string): RoutePlace | undefined {
  if (backend.kind !== "app" || backend.subset === undefined) return undefined;
  const isOwn = backend.name.namespace === namespace;
  return { kind: "AppVersion", name: isOwn ? backend.id : `${backend.id}.${backend.name.namespace}` };
}

/** One policy round another. */
export function round(
  outer: ProxyPolicy | undefined,
  inner: ProxyPolicy | undefined,
): ProxyPolicy | undefined {
  if (outer === undefined || inner === undefined) return outer ?? inner;
  return {
    hasRetries: outer.hasRetries || inner.hasRetries,
    run: (attempt, options) =>
      outer.run(
        (ended = options.signal) =>
          inner.run((last) => attempt(last ?? ended), { ...options, signal: ended }),
        options,
      ),
  };
}
