import type { IdempotencySpec } from "../../resource/resource.ts";

/** Where the records of a scope are kept. */
export type SpaceOf = (scope: IdempotencySpec["scope"]) => string;

/** One key space per app; what is global is one per namespace. */
export function spacesOf({ namespace, appId }: { namespace: string; appId: string }): SpaceOf {
  const all = `idempotency:${encodeURIComponent(namespace || "default")}`;
  const own = `${all}:${encodeURIComponent(appId)}`;
  return (scope) => (scope === "global" ? all : own);
}
