import { Code, errors, Fault } from "../../errors.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import { appUnhealthy } from "../failure.ts";
import { UnknownApp, UnreachedApp } from "../retry.ts";
import { type Backend, pickWeighted, type WeightedBackend } from "./backend.ts";
import type { CompiledRule } from "./rule.ts";

/** The backend of one request, `named` when its session asks for it. Throws what the standard says instead of one. */
export function chooseBackend(rule: CompiledRule, chance: () => number, named?: string): WeightedBackend {
  const { backends, totalWeight, label } = rule;
  const kept = named === undefined ? undefined : backends.find(({ backend }) => backend.id === named);
  const chosen = kept ?? pickWeighted(backends, totalWeight, backends.length === 1 ? 0 : chance());
  if (chosen === undefined) {
    if (backends.length === 0) throw badBackend(`the route ${label} names no backend`);
    throw errors.ROUTE(`no backend of the route ${label} has a weight`);
  }
  checkBackend(chosen.backend, label);
  return chosen;
}

export function checkBackend(backend: Backend, label: string): void {
  if (backend.kind === "invalid")
    throw badBackend(`a backend of the route ${label} can not be used: ${backend.why}`);
}

export function badBackend(why: string): Fault {
  return errors.ROUTE(why, { http: 500, grpc: Code.Unavailable });
}

export function noRule(id: string): Fault {
  return errors.ROUTE(`no rule of the routes of ${id} matches`, { http: 404, grpc: Code.Unimplemented });
}

/** A backend that nobody serves is 503; other failures stay what they are. */
export function asRouteFailure(error: unknown, backend: string): unknown {
  if (error instanceof Fault) return error;
  const isAbsent =
    error instanceof UnknownApp ||
    error instanceof UnreachedApp ||
    (error instanceof GrpcError && error.message.endsWith(appUnhealthy));
  if (!isAbsent) return error;
  return errors.ROUTE(`no instance of the backend ${backend} is ready: ${error.message}`, { cause: error });
}
