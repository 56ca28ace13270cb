import type { Resource } from "./resource.ts";

export interface ResourceDiff<R extends Resource> {
  added: R[];
  changed: { before: R; after: R }[];
  removed: R[];
}

/** Compares by kind, namespace and name, and then by what is asked for: moving a resource in its file is no change. */
export function diffResources<R extends Resource>(
  before: readonly R[],
  after: readonly R[],
): ResourceDiff<R> {
  const old = new Map(before.map((resource) => [identity(resource), resource]));
  const now = new Map(after.map((resource) => [identity(resource), resource]));
  const diff: ResourceDiff<R> = { added: [], changed: [], removed: [] };
  for (const [id, resource] of now) {
    const previous = old.get(id);
    if (!previous) diff.added.push(resource);
    else if (content(previous) !== content(resource))
      diff.changed.push({ before: previous, after: resource });
  }
  for (const [id, resource] of old) if (!now.has(id)) diff.removed.push(resource);
  return diff;
}

export function isSameResources(before: readonly Resource[], after: readonly Resource[]): boolean {
  const { added, changed, removed } = diffResources(before, after);
  return added.length + changed.length + removed.length === 0;
}

function identity({ kind, namespace, name }: Resource): string {
  return JSON.stringify([kind, namespace, name]);
}

function content({ apiVersion, scopes, spec, secretStore, createdAtMs }: Resource): string {
  return JSON.stringify({ apiVersion, scopes, spec, secretStore, createdAtMs });
}
