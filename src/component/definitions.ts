import { nearest } from "../kit/nearest.ts";
import { catalog } from "./catalog.ts";
import type { ComponentDefinition } from "./component.ts";

/** Finds the definition of a type: one of the built-in files, or one made at run time such as the engine's own. */
export interface Definitions {
  /** Types match without case; an empty version is the first one. Throws an `Error` that says what would be right. */
  find(type: string, version: string): Promise<ComponentDefinition>;
  /** `type/version` of each. */
  types(): string[];
}

/** Finds definitions that no file has. */
export type FindElsewhere = (type: string, version: string) => Promise<ComponentDefinition | undefined>;

export function definitionsOf(extra: readonly ComponentDefinition[], elsewhere?: FindElsewhere): Definitions {
  const loaders = new Map<string, () => Promise<ComponentDefinition>>();
  for (const [key, load] of Object.entries(catalog)) {
    loaders.set(key.toLowerCase(), async () => (await load()).default);
  }
  for (const definition of extra) {
    loaders.set(keyOf(definition.type, definition.version), async () => definition);
  }
  return {
    types: () => [...loaders.keys()].sort(),
    async find(type, version) {
      const load = loaders.get(keyOf(type, version));
      const found = load ? await load() : await elsewhere?.(type, version);
      if (!found) throw new Error(unknownType(type, version, [...loaders.keys()]));
      return found;
    },
  };
}

function keyOf(type: string, version: string): string {
  return `${type}/${version || "v1"}`.toLowerCase();
}

/** What Dapr calls a component of each kind in its message about an unknown one. */
const kindNames: Record<string, string> = {
  state: "state store",
  pubsub: "message bus",
  secretstores: "secret store",
  configuration: "configuration store",
  lock: "lock store",
  crypto: "crypto provider",
  conversation: "conversation component",
  bindings: "binding",
  middleware: "middleware",
  nameresolution: "name resolver",
};

/** Kinds of Dapr whose blocks mecha does not have yet. */
const missingKinds = new Set(["workflow"]);

/** Types of Dapr that mecha leaves out, and what does their work. */
const leftOut: Record<string, string> = {
  "middleware.http.opa":
    "policies in Rego are not evaluated here; use an AuthorizationPolicy, whose action CUSTOM asks Open Policy Agent over Envoy's ext_authz",
  "middleware.http.sentinel":
    "Sentinel's rules are not evaluated here; use a RateLimit and a TrafficPolicy for limits, breakers and load shedding",
};

function unknownType(type: string, version: string, known: string[]): string {
  const kind = type.split(".", 1)[0] ?? "";
  const instead = leftOut[type.toLowerCase()];
  if (instead !== undefined) return `${type} is not implemented: ${instead}`;
  if (missingKinds.has(kind)) return `components of kind ${kind} are not implemented (${type})`;
  const name = kindNames[kind];
  if (name === undefined || !type.includes(".")) {
    return `incorrect type ${type}: a type is kind.name, and the kinds are ${Object.keys(kindNames).join(", ")}`;
  }
  const others = known.filter((key) => key.startsWith(`${type.toLowerCase()}/`));
  const wanted = `couldn't find ${name} ${type}/${version || "v1"}`;
  if (others.length > 0) return `${wanted}: there is ${others.join(", ")}`;
  const near = nearest(type, new Set(known.map((key) => key.slice(0, key.lastIndexOf("/")))));
  return near === undefined ? wanted : `${wanted}; did you mean ${near}?`;
}
