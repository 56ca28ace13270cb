import type { Random } from "../edges/random.ts";
import type { MetadataItem, SourcePosition } from "../resource/resource.ts";
import type { SecretStore } from "./secret-store.ts";

/** What the values of one resource may refer to. */
export interface ItemScope {
  appId: string;
  namespace: string;
  /** From POD_NAME; absent outside Kubernetes. */
  podName: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  random: Random;
  /** The store that `secretKeyRef` asks; `undefined` with the reason when there is none. */
  secretStore: () => SecretStore;
}

/** A metadata item whose value can not be had. */
export class ItemError extends Error {
  readonly index: number;
  constructor(index: number, name: string, why: string, options?: ErrorOptions) {
    super(`metadata field ${name}: ${why}`, options);
    this.name = "ItemError";
    this.index = index;
  }
}

/** The values as texts, by the names as they are spelled. Of two items of one name the last wins, as in Dapr. */
export async function resolveItems(
  items: readonly MetadataItem[],
  scope: ItemScope,
): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (const [index, item] of items.entries()) {
    try {
      values.set(item.name, fillTemplates(await rawValue(item, scope), scope));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ItemError(index, item.name, why, { cause: error });
    }
  }
  return values;
}

/** Whether a value uses the `{namespace}` template: it makes the topics of a pub/sub component namespaced. */
export function usesNamespace(items: readonly MetadataItem[]): boolean {
  return items.some((item) => textOf(item.value).includes("{namespace}"));
}

/** As text: scalars as they are written, anything else as JSON. */
export function textOf(value: MetadataItem["value"]): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function describePosition({ file, line, column }: SourcePosition): string {
  return `${file}:${line}:${column}`;
}

async function rawValue(item: MetadataItem, scope: ItemScope): Promise<string> {
  if (item.secretKeyRef) return readSecret(item.secretKeyRef, scope.secretStore());
  if (item.envRef) return readVariable(item.envRef, scope.env);
  return textOf(item.value);
}

async function readSecret(
  { name, key = name }: { name: string; key?: string },
  store: SecretStore,
): Promise<string> {
  const secret = await store.get(name, {});
  const value = Object.hasOwn(secret, key) ? secret[key] : undefined;
  if (value === undefined) throw new Error(`secret ${name} has no key ${key}`);
  return value;
}

/** The variables that open doors of the runtime must not reach a component, and by it an app. */
function readVariable(name: string, env: ItemScope["env"]): string {
  const isRefused = name.toUpperCase().startsWith("DAPR_") || name.toUpperCase() === "APP_API_TOKEN";
  if (isRefused)
    throw new Error(`envRef ${name} is not allowed: DAPR_* and APP_API_TOKEN are the runtime's own`);
  // As Dapr: an absent variable is an empty text.
  return env[name] ?? "";
}

function fillTemplates(value: string, { random, podName, namespace, appId }: ItemScope): string {
  if (!value.includes("{")) return value;
  if (value.includes("{podName}") && !podName) {
    throw new Error("it refers to {podName} but POD_NAME is not set");
  }
  return value
    .replaceAll("{uuid}", () => random.uuid())
    .replaceAll("{podName}", () => podName ?? "")
    .replaceAll("{namespace}", () => `${namespace}.${appId}`)
    .replaceAll("{appID}", () => appId);
}
