import type { Random } from "../../edges/random.ts";
import { Fault } from "../../errors.ts";
import { type GrpcContext, GrpcError } from "../../net/grpc/types.ts";
import type { HeaderChange } from "../../resource/route.ts";
import type { AppName } from "../identity.ts";
import type { Subset } from "../subset.ts";
import type { Backend } from "./backend.ts";
import { badBackend, checkBackend, chooseBackend, noRule } from "./choice.ts";
import type { GrpcTable } from "./grpc-table.ts";
import { changeMetadata } from "./header-change.ts";
import { drawn } from "./mirrors.ts";
import { hostParts } from "./path-change.ts";
import { placeOf, type RoutePlace } from "./route-policy.ts";

/** Where a proxied call goes. */
export interface GrpcAim {
  name: AppName;
  /** For the words of failures. */
  id: string;
  subset: Subset | undefined;
  /** A route has chosen it. */
  isRouted?: true;
}

export interface RoutedGrpc extends GrpcAim {
  context: GrpcContext;
  mirrors: readonly GrpcAim[];
  /** Where policies stand, outermost first. */
  places: readonly RoutePlace[];
  /** Of the answer's head, in this order. */
  answer: readonly HeaderChange[];
}

/** The rule of a proxied call. Throws what gRPC has for no rule and no backend. */
export function routeGrpc(table: GrpcTable, context: GrpcContext, routing: GrpcRouting): RoutedGrpc {
  try {
    return route(table, context, routing);
  } catch (error) {
    throw error instanceof Fault ? new GrpcError(error.grpc, error.message, { cause: error }) : error;
  }
}

export interface GrpcRouting {
  /** Who calls. */
  principal: AppName;
  random: Random;
}

function route(table: GrpcTable, context: GrpcContext, { principal, random }: GrpcRouting): RoutedGrpc {
  const next = (): number => random.next();
  const rule = table.find({
    path: context.path,
    hostname: hostParts(context.authority ?? "").hostname,
    header: (lowerName) => context.get(lowerName),
  });
  if (rule === undefined) throw noRule(context.path);
  const chosen = chooseBackend(rule, next);
  const shared = changeMetadata(context.metadata, rule.requestHeaders);
  const metadata = changeMetadata(shared, chosen.requestHeaders);
  const version = placeOf(chosen.backend, principal.namespace);
  const changes = [chosen.responseHeaders, rule.responseHeaders];
  return {
    ...aimAt(chosen.backend),
    context: metadata === context.metadata ? context : changedContext(context, metadata),
    places: version === undefined ? [rule.place] : [rule.place, version],
    mirrors: drawn(rule.mirrors, next).filter(isApp).map(aimAt),
    answer: changes.filter((change) => change !== undefined),
  };
}

function isApp({ kind }: Backend): boolean {
  return kind === "app";
}

function aimAt(backend: Backend): GrpcAim {
  checkBackend(backend, backend.id);
  if (backend.kind === "app")
    return { name: backend.name, id: backend.id, subset: backend.subset, isRouted: true };
  throw badBackend(`${backend.id} is no app: gRPC calls go to apps alone`);
}

/** A context's fields, which may be getters of its class. */
function changedContext(context: GrpcContext, metadata: GrpcContext["metadata"]): GrpcContext {
  const { path, contentType, deadlineMs, peer, replyHeaders, replyTrailers } = context;
  return {
    ...{ path, contentType, metadata, deadlineMs, peer, replyHeaders, replyTrailers },
    requestStart: (options) => context.requestStart(options),
    get: (lowerName) => metadata.find(([name]) => name === lowerName)?.[1],
    get signal() {
      return context.signal;
    },
  };
}
