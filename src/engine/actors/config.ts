import { parseDuration } from "../../kit/duration.ts";
import { looseMembers } from "../../kit/loose-members.ts";

/** How one actor type is hosted. */
export interface TypeConfig {
  idleTimeoutMs: number;
  /** How long a running turn may go on when the actor has to move. */
  drainTimeoutMs: number;
  /** `false`: the actor moves at once. */
  drainsRebalanced: boolean;
  reentrancy: { isEnabled: boolean; depthMax: number };
}

const defaults: TypeConfig = {
  idleTimeoutMs: 3_600_000,
  drainTimeoutMs: 2000,
  drainsRebalanced: true,
  reentrancy: { isEnabled: false, depthMax: 32 },
};

/** The types an app hosts by its answer to GET /dapr/config (dapr-api.md §8.1). Throws for what can not be read. */
export function readActorConfig(answer: unknown): Map<string, TypeConfig> {
  const body = membersOf(answer);
  const types = new Map<string, TypeConfig>();
  const shared = readType(body, defaults);
  for (const type of textsOf(body.entities, "entities")) types.set(type, shared);
  const special = Array.isArray(body.entitiesConfig) ? body.entitiesConfig : [];
  for (const entry of special) {
    const members = membersOf(entry);
    const own = readType(members, shared);
    // Dapr takes the settings of listed types only.
    for (const type of textsOf(members.entities, "entities")) if (types.has(type)) types.set(type, own);
  }
  return types;
}

function readType(members: Record<string, unknown>, base: TypeConfig): TypeConfig {
  const { actorIdleTimeout, drainOngoingCallTimeout, drainRebalancedActors, reentrancy } = members;
  const { enabled, maxStackDepth } = membersOf(reentrancy ?? {});
  return {
    idleTimeoutMs: durationOf(actorIdleTimeout, base.idleTimeoutMs),
    drainTimeoutMs: durationOf(drainOngoingCallTimeout, base.drainTimeoutMs),
    drainsRebalanced:
      typeof drainRebalancedActors === "boolean" ? drainRebalancedActors : base.drainsRebalanced,
    reentrancy: {
      isEnabled: typeof enabled === "boolean" ? enabled : base.reentrancy.isEnabled,
      depthMax: typeof maxStackDepth === "number" ? maxStackDepth : base.reentrancy.depthMax,
    },
  };
}

function durationOf(value: unknown, otherwiseMs: number): number {
  if (typeof value !== "string" || value === "") return otherwiseMs;
  const ms = parseDuration(value);
  return ms > 0 ? ms : otherwiseMs;
}

function textsOf(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
  throw new Error(`"${what}" has to be an array of strings`);
}

function membersOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("expected an object");
  return looseMembers(value as Record<string, unknown>);
}
