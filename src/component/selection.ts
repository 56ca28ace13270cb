import type { ComponentResource, MetadataItem } from "../resource/resource.ts";

/** A component that the app is to have: from a resource, or an implicit one. */
export interface WantedComponent {
  name: string;
  type: string;
  version: string;
  items: readonly MetadataItem[];
  ignoresErrors: boolean;
  initTimeoutMs: number;
  /** `auth.secretStore`; empty: none named. */
  secretStore: string;
  /** Absent for an implicit one. */
  resource: ComponentResource | undefined;
}

/** A component that exists without a resource; a resource of the same name takes its place. */
export interface ImplicitComponent {
  name: string;
  type: string;
  metadata: Record<string, string>;
}

export interface SelectionOptions {
  appId: string;
  /** Resources of other namespaces are left out; empty: no filter. */
  namespaceFilter: string;
  implicit: readonly ImplicitComponent[];
  /** Types nobody may use: `state.redis` or `state.redis/v1`. */
  deny: readonly string[];
}

export interface Selection {
  wanted: WantedComponent[];
  denied: WantedComponent[];
}

const initTimeoutDefaultMs = 5_000;

/** What one app gets of the loaded resources. Throws on two of a name. */
export function selectComponents(
  resources: readonly ComponentResource[],
  { appId, namespaceFilter, implicit, deny }: SelectionOptions,
): Selection {
  const inNamespace = resources.filter(
    ({ namespace }) => namespaceFilter === "" || namespace === "" || namespace === namespaceFilter,
  );
  refuseDuplicates(inNamespace);
  const visible = inNamespace.filter(({ scopes }) => scopes.length === 0 || scopes.includes(appId));
  // A resource that is scoped to other apps takes the name too: the app must not get another store in its place.
  const taken = new Set(inNamespace.map((resource) => resource.name));
  const named = visible.map(fromResource);
  const hasActorStore = named.some(mentionsActors);
  const others = implicit.filter(({ name }) => !taken.has(name)).map(fromImplicit);
  const all = [...others.map((one) => (hasActorStore ? withoutActors(one) : one)), ...named];
  const isDenied = ({ type, version }: WantedComponent) =>
    deny.includes(type) || deny.includes(`${type}/${version}`);
  return { wanted: all.filter((one) => !isDenied(one)), denied: all.filter(isDenied) };
}

/** `name (type/version)`: how Dapr's log lines call a component. */
export function logName({ name, type, version }: { name: string; type: string; version: string }): string {
  return `${name} (${type}/${version})`;
}

/** Whether a state store has the field that makes it the one of actors. */
export function mentionsActors({ type, items }: WantedComponent): boolean {
  return type.startsWith("state.") && items.some(isActorField);
}

/** Two components are the same when this text is. */
export function fingerprint(component: WantedComponent): string {
  const { resource: _, ...rest } = component;
  return JSON.stringify(rest);
}

/** There is one actor state store: the implicit one leaves the part to a resource that asks for it. */
function withoutActors(component: WantedComponent): WantedComponent {
  return { ...component, items: component.items.filter((item) => !isActorField(item)) };
}

function isActorField({ name }: MetadataItem): boolean {
  return name.toLowerCase() === "actorstatestore";
}

function refuseDuplicates(resources: readonly ComponentResource[]): void {
  const seen = new Map<string, ComponentResource>();
  const problems: string[] = [];
  for (const resource of resources) {
    const first = seen.get(resource.name);
    if (first) problems.push(duplicate(resource, first));
    else seen.set(resource.name, resource);
  }
  if (problems.length > 0) throw new Error(`failed to load components: ${problems.join("\n")}`);
}

function duplicate(resource: ComponentResource, first: ComponentResource): string {
  const { name, spec, source } = resource;
  const here = logName({ name, type: spec.type, version: spec.version });
  const there = logName({ name, type: first.spec.type, version: first.spec.version });
  const places = `${source.file}:${source.line} and ${first.source.file}:${first.source.line}`;
  return `duplicate definition of Component name ${here} with existing ${there} (${places})`;
}

function fromImplicit({ name, type, metadata }: ImplicitComponent): WantedComponent {
  const items = Object.entries(metadata).map(([key, value]) => ({ name: key, value }));
  return {
    name,
    type,
    version: "v1",
    items,
    ignoresErrors: false,
    initTimeoutMs: initTimeoutDefaultMs,
    secretStore: "",
    resource: undefined,
  };
}

function fromResource(resource: ComponentResource): WantedComponent {
  const { name, spec, secretStore = "" } = resource;
  return {
    name,
    type: spec.type,
    version: spec.version || "v1",
    items: spec.metadata,
    ignoresErrors: spec.ignoreErrors ?? false,
    initTimeoutMs: spec.initTimeoutMs ?? initTimeoutDefaultMs,
    secretStore,
    resource,
  };
}
