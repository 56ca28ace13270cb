import type { ComponentKind, ComponentKinds } from "./component.ts";

/** The opened components that one app may use, after scopes. Implemented by the loader. */
export interface Components {
  /** The component of that kind and name, if it is ready. Looked up on each call: hot reload swaps it. */
  find<K extends ComponentKind>(kind: K, name: string): LoadedComponent<K> | undefined;
  /** All of a kind, in load order. */
  list<K extends ComponentKind>(kind: K): LoadedComponent<K>[];
  /** Every component, for the metadata API. */
  all(): LoadedComponent<ComponentKind>[];
  /** Calls the listener after a component was added, replaced or removed. Returns the unsubscribe function. */
  onChange(listener: (change: ComponentChange) => void): () => void;
  close(): Promise<void>;
}

export interface LoadedComponent<K extends ComponentKind> {
  kind: K;
  name: string;
  type: string;
  version: string;
  instance: ComponentKinds[K];
  /** All metadata with secrets and templates resolved, lower-case names. For the settings that belong to the layer above. */
  properties: ReadonlyMap<string, string>;
  /** What the metadata API lists. */
  capabilities: string[];
  /** A metadata value used the `{namespace}` template: topics get the namespace as a prefix (dapr-api.md §6.3). */
  isNamespaceScoped: boolean;
}

export interface ComponentChange {
  kind: ComponentKind;
  name: string;
  action: "added" | "replaced" | "removed";
}
