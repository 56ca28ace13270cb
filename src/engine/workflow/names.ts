/** An app of a namespace: whose workflows, whose activities. */
export interface AppName {
  readonly namespace: string;
  readonly appId: string;
}

/** The consumer group of both logs: all runtimes of the app compete for its work. */
export const workers = "workers";

/** The log of what comes in for instances of the app; the order key is the instance id. */
export function inboxTopic(app: AppName): string {
  return `workflow:${scope(app)}`;
}

/** The log of activities to run. */
export function activityTopic(app: AppName): string {
  return `activity:${scope(app)}`;
}

/** One record per instance: what status and list need. */
export function recordSpace(app: AppName): string {
  return `workflow:${scope(app)}`;
}

/** Inputs of instances, apart from the record that is rewritten at each turn. */
export function inputSpace(app: AppName): string {
  return `workflow-input:${scope(app)}`;
}

/** Histories that executions were handed by their parents. */
export function propagatedSpace(app: AppName): string {
  return `workflow-propagated:${scope(app)}`;
}

/** Who holds how many places of the app's concurrency limits. */
export function limitSpace(app: AppName): string {
  return `workflow-limits:${scope(app)}`;
}

/** What the engine knows of the state store in which the app's instances are kept. */
export function homeSpace(app: AppName): string {
  return `workflow-home:${scope(app)}`;
}

export function timerSpace(app: AppName): string {
  return `workflow:${scope(app)}`;
}

export function historyName(app: AppName, instanceId: string): string {
  return `workflow:${scope(app)}:${instanceId}`;
}

export function isSameApp(one: AppName, other: AppName): boolean {
  return scope(one) === scope(other);
}

const scopes = new WeakMap<AppName, string>();

/** Colons in a name would let two apps meet. */
function scope(app: AppName): string {
  const known = scopes.get(app);
  if (known !== undefined) return known;
  const made = `${encodeURIComponent(app.namespace || "default")}:${encodeURIComponent(app.appId)}`;
  scopes.set(app, made);
  return made;
}
