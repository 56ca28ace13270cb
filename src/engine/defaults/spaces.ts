/**
 * Names inside the store. Namespaces do not see each other; components of the same name share what is in them, so
 * that the processes of one machine have one `statestore` and one `pubsub`.
 */
export function stateSpace(namespace: string, component: string): string {
  return `state:${scope(namespace, component)}`;
}

export function configurationSpace(namespace: string, component: string): string {
  return `configuration:${scope(namespace, component)}`;
}

/** What a topic of an app is called in the store. */
export function storeTopic(namespace: string, component: string, topic: string): string {
  return `pubsub:${scope(namespace, component)}:${topic}`;
}

export function lockLease(namespace: string, component: string, resourceId: string): string {
  return `lock:${scope(namespace, component)}:${resourceId}`;
}

/** Colons in a name would let two scopes meet. */
function scope(namespace: string, component: string): string {
  return `${encodeURIComponent(namespace || "default")}:${encodeURIComponent(component)}`;
}
