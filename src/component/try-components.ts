import type { ComponentResource } from "../resource/resource.ts";
import type { ComponentKind } from "./component.ts";
import type { LoadedComponent } from "./components.ts";
import { type OpenScope, openComponent } from "./open-component.ts";
import { kindOf } from "./parse-options.ts";
import { type ImplicitComponent, selectComponents, type WantedComponent } from "./selection.ts";
import { withinTime } from "./within-time.ts";

/** What came of opening one component. */
export interface Trial {
  name: string;
  type: string;
  tookMs: number;
  /** Absent: its server answers. */
  error: Error | undefined;
}

export interface TrialOptions extends Omit<OpenScope, "secretStoreOf" | "isPatient" | "principal"> {
  /** For opening one, and again for asking its server. */
  timeoutMs: number;
  namespace: string;
  /** The secret store that every app has: it answers for those who name none. */
  secretStore: ImplicitComponent;
  /** Types without a server. */
  isLocal(type: string): boolean;
}

type SecretStores = Map<string, LoadedComponent<"secretstores">>;

/** Opens each component as its app would, whoever that is, asks its server, and closes it again. */
export async function tryComponents(
  resources: readonly ComponentResource[],
  options: TrialOptions,
): Promise<Trial[]> {
  const wanted = resources.flatMap((resource) => wantedOf(resource, options));
  const implicit = wanted.some(({ name }) => name === options.secretStore.name) ? [] : [options.secretStore];
  const [own] = selectComponents([], { appId: "", namespaceFilter: "", implicit, deny: [] }).wanted;
  const stores: SecretStores = new Map();
  const trials = new Map<WantedComponent, Trial>();
  // One after the other: a secret store may need another one's secret.
  for (const one of [...(own ? [own] : []), ...wanted.filter(isSecretStore)]) {
    const { trial, loaded } = await attempt(one, options, stores);
    trials.set(one, trial);
    if (loaded !== undefined) stores.set(one.name, loaded as LoadedComponent<"secretstores">);
  }
  const others = wanted.filter((one) => !isSecretStore(one) && !options.isLocal(one.type));
  const opened = await Promise.all(others.map((one) => attempt(one, options, stores)));
  others.forEach((one, index) => void trials.set(one, (opened[index] as Attempt).trial));
  const all = [...opened.map(({ loaded }) => loaded), ...stores.values()];
  await Promise.all(all.map((loaded) => loaded?.instance.close().catch(() => undefined)));
  return wanted.flatMap((one) => trials.get(one) ?? []);
}

function isSecretStore({ type }: WantedComponent): boolean {
  return kindOf(type) === "secretstores";
}

/** Whatever its scopes say: the first of its apps opens it. */
function wantedOf(resource: ComponentResource, { namespace, timeoutMs }: TrialOptions): WantedComponent[] {
  const appId = resource.scopes[0] ?? "";
  const selected = selectComponents([resource], {
    appId,
    namespaceFilter: namespace,
    implicit: [],
    deny: [],
  });
  return selected.wanted.map((one) => ({ ...one, initTimeoutMs: timeoutMs }));
}

interface Attempt {
  trial: Trial;
  loaded: LoadedComponent<ComponentKind> | undefined;
}

async function attempt(
  wanted: WantedComponent,
  options: TrialOptions,
  stores: SecretStores,
): Promise<Attempt> {
  const { edges, timeoutMs, namespace } = options;
  const startMs = edges.clock.monotonicMs();
  const done = (error: Error | undefined): Trial => {
    const { name, type } = wanted;
    return { name, type, error, tookMs: Math.round(edges.clock.monotonicMs() - startMs) };
  };
  let loaded: LoadedComponent<ComponentKind> | undefined;
  try {
    loaded = await openComponent(wanted, {
      ...options,
      ...{ principal: { appId: wanted.resource?.scopes[0] ?? "", namespace }, isPatient: false },
      secretStoreOf: ({ secretStore }) => storeNamed(secretStore || options.secretStore.name, stores),
    });
    const { instance } = loaded;
    if ("ping" in instance && instance.ping) await withinTime(edges.clock, timeoutMs, instance.ping());
    return { trial: done(undefined), loaded };
  } catch (error) {
    return { trial: done(error as Error), loaded };
  }
}

function storeNamed(name: string, stores: SecretStores) {
  const found = stores.get(name);
  if (found === undefined) throw new Error(`secret store ${name} can not be used`);
  return found.instance;
}
