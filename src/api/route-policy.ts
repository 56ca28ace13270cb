import { Fault } from "../errors.ts";
import { signalOf } from "../kit/cancellation.ts";
import { metadataOfLines } from "../net/grpc/types.ts";
import type { MethodAnswer } from "../peer/on-invoke.ts";
import type { RoutePlace, RoutePolicies, RoutePolicy } from "../peer/routes/route-policy.ts";
import type { RequestCache } from "../policy/cache/http-caches.ts";
import type { Send } from "../policy/cache/reply.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import type { Block, GivenAnswer } from "../policy/use/layer.ts";
import { type PlacedLayers, runPlaced } from "../policy/use/use-policies.ts";
import type { AppScope } from "./call.ts";
import { codeOfError, httpShape } from "./http-shape.ts";
import { CachedCall, changed } from "./invoke-cache.ts";
import { proxyPolicyOf } from "./proxy-policy.ts";

const blockOf: Record<RoutePlace["kind"], Block> = {
  Gateway: "gateway",
  HTTPRoute: "route",
  GRPCRoute: "grpcRoute",
  AppVersion: "version",
};

/** mecha's own policies round the calls that go by routes. `app` is asked when something is called. */
export function createRoutePolicies(app: () => AppScope): RoutePolicies {
  const placedAt = ({ kind, name }: RoutePlace): PlacedLayers | undefined =>
    app().policies.at(blockOf[kind], name);
  return {
    http(place) {
      const placed = placedAt(place);
      const cache = app().policies.caches?.placed(place.kind, place.name);
      const policy = placed && httpPolicy(placed, cache);
      return cache === undefined ? policy : cachedPolicy(cache, policy);
    },
    method(place) {
      const placed = placedAt(place);
      if (placed === undefined) return undefined;
      return {
        run({ verb, path, header, signal, tries }, attempt) {
          const use = { operation: verb, names: [path], header, tries };
          const shape = { ...methodShape, signal };
          return runPlaced(
            { placed, resilience: undefined },
            use,
            (ended) => attempt(signalOf(ended)),
            shape,
          );
        },
      };
    },
    grpc: (place, path) => proxyPolicyOf({ placed: placedAt(place), resilience: undefined }, path),
  };
}

/** `cache` has what a fallback may give. */
function httpPolicy(placed: PlacedLayers, cache: RequestCache | undefined): RoutePolicy {
  return {
    repeats: placed.repeats,
    run(call, attempt) {
      const { request, target, isRepeatable, tries } = call;
      const header = (lowerName: string) => request.header(lowerName);
      const use = { operation: request.method, names: [target.split("?", 1)[0] as string], header, tries };
      const stale = async () => cache?.lastResort?.(new CachedCall(request, target, call));
      const shape = { ...httpShape, codeOfError: codeOfRouteError, signal: request.signal, isRepeatable };
      return runPlaced(
        { placed, resilience: undefined },
        use,
        (ended) => attempt(signalOf(ended)),
        cache === undefined ? shape : { ...shape, stale },
      );
    },
  };
}

/** What is kept of its answers stands before what is done round them. */
function cachedPolicy(cache: RequestCache, inner: RoutePolicy | undefined): RoutePolicy {
  return {
    repeats: inner?.repeats ?? false,
    async run(call, attempt) {
      const send: Send = ({ signal, headers } = {}) => {
        if (inner === undefined) return attempt(signal, headers);
        const asked = signal === undefined ? call : { ...call, request: changed(call.request, { signal }) };
        return inner.run(asked, (ended = signal) => attempt(ended, headers));
      };
      return cache.handle(new CachedCall(call.request, call.target, call), send);
    },
  };
}

/** That no rule is for a call is no failure of a target, whatever its gRPC code means over HTTP. */
function codeOfRouteError(error: unknown): FailureCode | undefined {
  return error instanceof Fault && error.http < 500 ? { http: error.http } : codeOfError(error);
}

const methodShape = {
  codeOf({ isHttp, code }: MethodAnswer): FailureCode | undefined {
    if (isHttp) return code >= 200 && code < 400 ? undefined : { http: code };
    return code === 0 ? undefined : { grpc: code };
  },
  codeOfError: codeOfRouteError,
  answer({ fault, headers }: GivenAnswer): never {
    throw new Fault(fault, fault.message, { ...fault.options, ...(headers && { headers }) });
  },
  /** As an app over HTTP would have answered. */
  good({ fault, headers = [], body = "" }: GivenAnswer): MethodAnswer {
    const metadata = metadataOfLines(headers);
    const contentType = metadata.find(([name]) => name === "content-type")?.[1] ?? "";
    return {
      ...{ isHttp: true, code: fault.http, message: "", details: [], headers: metadata, trailers: [] },
      ...{ data: { typeUrl: "", value: Buffer.from(body) }, contentType },
    };
  },
};
