import type { IdempotencyResource, IdempotencySpec } from "../../resource/resource.ts";
import { compileKey, type KeyOf } from "./key.ts";

/** One Idempotency resource, ready to be used. */
export interface Policy {
  name: string;
  spec: IdempotencySpec;
  /** Absent: the default key. */
  keyOf: KeyOf | undefined;
}

/** What applies to what; of several the first in load order. */
export interface Policies {
  /** Calls to the app. */
  app: Policy | undefined;
  /** By the subscription's resource name, and by `<pubsub>/<topic>`. */
  subscriptions: ReadonlyMap<string, Policy>;
  /** By the names of workflows and of input bindings. */
  workflows: ReadonlyMap<string, Policy>;
  bindings: ReadonlyMap<string, Policy>;
}

/** Rejects when a key can not be compiled, naming the place. */
export async function compilePolicies(
  resources: readonly IdempotencyResource[],
  appId: string,
): Promise<Policies> {
  const byKind = { Subscription: new Map(), Workflow: new Map(), Component: new Map() } satisfies Record<
    string,
    Map<string, Policy>
  >;
  let app: Policy | undefined;
  for (const resource of resources) {
    const policy = await compile(resource);
    for (const { kind, name } of resource.spec.targets) {
      if (kind === "App") {
        if (name === appId) app ??= policy;
      } else if (!byKind[kind].has(name)) byKind[kind].set(name, policy);
    }
  }
  const { Subscription: subscriptions, Workflow: workflows, Component: bindings } = byKind;
  return { app, subscriptions, workflows, bindings };
}

async function compile(resource: IdempotencyResource): Promise<Policy> {
  const { name, spec } = resource;
  try {
    return { name, spec, keyOf: spec.key && (await compileKey(spec.key)) };
  } catch (error) {
    const { file, line, column } = resource.at("spec", "key");
    throw new Error(`${file}:${line}:${column}: ${(error as Error).message}`, { cause: error });
  }
}

export function isFailure({ failureStatus }: IdempotencySpec, status: number): boolean {
  return failureStatus.some(({ from, to }) => status >= from && status <= to);
}
