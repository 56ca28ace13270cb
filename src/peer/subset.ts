import type { Instance } from "./registry.ts";

/** Labels that an instance has to have to be called. */
export type Subset = Readonly<Record<string, string>>;

/** The label by which instances of one app differ in what they run. */
export const versionLabel = "version";

export function isInSubset(labels: Readonly<Record<string, string>> | undefined, subset: Subset): boolean {
  for (const name in subset) if (labels?.[name] !== subset[name]) return false;
  return true;
}

export function inSubset(instances: readonly Instance[], subset: Subset | undefined): readonly Instance[] {
  if (subset === undefined) return instances;
  return instances.filter(({ labels }) => isInSubset(labels, subset));
}

/** Which instance a session belongs to, and who hears which one it became. */
export interface Stick {
  /** Empty: the session begins. */
  instanceId: string;
  chosen(instanceId: string): void;
}

/** What a route says of the instance a call goes to. */
export interface Aim {
  subset?: Subset | undefined;
  stick?: Stick | undefined;
}
