import type { ClockTimer } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import type { ComponentResource, MetadataItem, Resource } from "../resource/resource.ts";
import type { Log, Metrics } from "../telemetry/telemetry.ts";
import type { ComponentKind } from "./component.ts";
import type { ComponentChange, Components, LoadedComponent } from "./components.ts";
import type { Definitions } from "./definitions.ts";
import { parseFlag } from "./fields.ts";
import { initFailure, itemScope, type OpenScope, openComponent } from "./open-component.ts";
import { kindOf } from "./parse-options.ts";
import { pauseBefore } from "./pause.ts";
import { resolveItems } from "./resolve-items.ts";
import type { SecretStore } from "./secret-store.ts";
import {
  fingerprint,
  type ImplicitComponent,
  logName,
  mentionsActors,
  selectComponents,
  type WantedComponent,
} from "./selection.ts";
import { isUnreachable } from "./unreachable.ts";

export interface ComponentsOptions {
  definitions: Definitions;
  resources: readonly ComponentResource[];
  /** Components that exist without a resource; none in strict mode. */
  implicit: readonly ImplicitComponent[];
  /** Whose components these are. */
  principal: { appId: string; namespace: string };
  /** Leaves out resources of other namespaces: the NAMESPACE variable. Empty: no filter. */
  namespaceFilter: string;
  /** `componentsDeny` of the Configuration. */
  deny: readonly string[];
  /** `mecha daprd`: messages and refusals exactly as daprd's. */
  isStrict: boolean;
  log: Log;
  metrics?: Metrics;
  edges: Edges;
  env: Readonly<Record<string, string | undefined>>;
}

/** The components of one app, changeable while it runs. */
export interface ReloadableComponents extends Components {
  /**
   * Takes a changed set of resources: opens what is new, swaps what changed, closes what is gone. What can not be
   * opened keeps its old version, and the reason is logged with its place. Resolves when all is done.
   */
  apply(resources: readonly ComponentResource[]): Promise<void>;
  /** Resolves templates, secrets and variables of items of another resource, such as the headers of an HTTPEndpoint. */
  resolve(resource: Resource, items: readonly MetadataItem[]): Promise<Map<string, string>>;
}

/** Opens all components that the app may use. Rejects, with everything closed again, when one that matters fails. */
export async function createComponents(options: ComponentsOptions): Promise<ReloadableComponents> {
  const components = new AppComponents(options);
  try {
    await components.start(options.resources);
  } catch (error) {
    await components.close();
    throw error;
  }
  return components;
}

interface Open {
  wanted: WantedComponent;
  loaded: LoadedComponent<ComponentKind>;
  print: string;
}

const laterMs = 500;
const laterMaxMs = 10_000;

class AppComponents implements ReloadableComponents {
  readonly #options: ComponentsOptions;
  readonly #scope: OpenScope;
  readonly #log: Log;
  readonly #listeners = new Set<(change: ComponentChange) => void>();
  /** By name, in load order. */
  #open = new Map<string, Open>();
  #applying: Promise<void> = Promise.resolve();
  /** Components whose server was not there, and may be next time. */
  readonly #later = new Map<string, ClockTimer>();
  #actorStore: string | undefined;

  constructor(options: ComponentsOptions) {
    this.#options = options;
    this.#log = options.log;
    const { definitions, principal, edges, env, log, isStrict } = options;
    const secretStoreOf = (wanted: WantedComponent) => this.#secretStore(wanted.secretStore);
    const daprd = { isPatient: !isStrict, ignoresUnknown: isStrict };
    this.#scope = { definitions, principal, edges, env, log, ...daprd, secretStoreOf };
  }

  find<K extends ComponentKind>(kind: K, name: string): LoadedComponent<K> | undefined {
    const loaded = this.#open.get(name)?.loaded;
    return loaded?.kind === kind ? (loaded as LoadedComponent<K>) : undefined;
  }

  list<K extends ComponentKind>(kind: K): LoadedComponent<K>[] {
    return this.all().filter((loaded): loaded is LoadedComponent<K> => loaded.kind === kind);
  }

  all(): LoadedComponent<ComponentKind>[] {
    return [...this.#open.values()].map((open) => open.loaded);
  }

  onChange(listener: (change: ComponentChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async start(resources: readonly ComponentResource[]): Promise<void> {
    const wanted = this.#select(resources);
    // In rounds: the components of a round only need secret stores of the rounds before.
    for (const round of rounds(wanted)) {
      const results = await Promise.allSettled(round.map((one) => openComponent(one, this.#scope)));
      const failures = await Promise.all(results.map((result, index) => this.#settle(round[index], result)));
      const fatal = failures.find((failure) => failure !== undefined);
      if (fatal) throw fatal;
    }
    // Load order is the order of the resources, whatever became ready first.
    const inOrder = wanted.flatMap(({ name }) => this.#open.get(name) ?? []);
    this.#open = new Map(inOrder.map((open) => [open.wanted.name, open]));
    const { metrics, principal } = this.#options;
    metrics?.gauge("runtime_component_loaded", { app_id: principal.appId }).set(this.#open.size);
  }

  apply(resources: readonly ComponentResource[]): Promise<void> {
    // One after the other: each compares with what the one before left.
    this.#applying = this.#applying.then(() => this.#applyNow(resources));
    return this.#applying;
  }

  async resolve(resource: Resource, items: readonly MetadataItem[]): Promise<Map<string, string>> {
    const secretStore = resource.secretStore ?? "";
    const scope = itemScope({ secretStore } as WantedComponent, this.#scope);
    return resolveItems(items, scope);
  }

  async close(): Promise<void> {
    this.#forgetLater();
    await this.#applying;
    this.#forgetLater();
    // Secret stores last: others may hold on to them.
    const closing = [...this.#open.values()].reverse();
    this.#open.clear();
    for (const open of closing) await this.#closeInstance(open);
    this.#listeners.clear();
  }

  #select(resources: readonly ComponentResource[]): WantedComponent[] {
    const { principal, namespaceFilter, implicit, deny } = this.#options;
    const { appId } = principal;
    const { wanted, denied } = selectComponents(resources, { appId, namespaceFilter, implicit, deny });
    for (const one of denied) {
      this.#log.warn({}, `component ${logName(one)} is not loaded: its type is denied by the Configuration`);
    }
    // Secret stores first, otherwise in the order of the resources.
    return [...wanted.filter(isSecretStore), ...wanted.filter((one) => !isSecretStore(one))];
  }

  /** Keeps a component that was opened; returns the error of one that was not and may not fail. */
  async #settle(
    wanted: WantedComponent | undefined,
    result: PromiseSettledResult<LoadedComponent<ComponentKind>>,
  ): Promise<Error | undefined> {
    if (!wanted) return undefined;
    if (result.status === "rejected") return this.#failed(wanted, result.reason);
    const duplicate = this.#claimActorStore(result.value);
    if (duplicate) {
      await result.value.instance.close();
      return this.#failed(wanted, duplicate);
    }
    this.#open.set(wanted.name, { wanted, loaded: result.value, print: fingerprint(wanted) });
    this.#count("runtime_component_init_total", wanted, {});
    this.#log.info({}, `Component loaded: ${logName(wanted)}`);
    return undefined;
  }

  #failed(wanted: WantedComponent, error: unknown): Error | undefined {
    this.#count("runtime_component_init_fail_total", wanted, { reason: "init", componentName: wanted.name });
    const failure = new Error(this.#failureText(wanted, error), { cause: error });
    if (!wanted.ignoresErrors) return failure;
    this.#log.error({}, `Ignoring error processing component: ${failure.message}`);
    if (isUnreachable(error)) this.#tryLater(wanted, 0);
    return undefined;
  }

  /** Where it may come later: a store of actors may not. */
  #tryLater(wanted: WantedComponent, tries: number): void {
    if (!this.#scope.isPatient || !wanted.ignoresErrors || asksForActors(wanted)) return;
    const { clock, random } = this.#options.edges;
    const pauseMs = pauseBefore(tries, { firstMs: laterMs, maxMs: laterMaxMs, random });
    const retry = async (): Promise<void> => {
      if (!this.#later.delete(wanted.name)) return;
      await this.#replace(wanted, undefined, tries + 1);
    };
    const timer = clock.setTimer(
      pauseMs,
      () => {
        this.#applying = this.#applying.then(retry);
      },
      { background: true },
    );
    this.#later.set(wanted.name, timer);
  }

  #forgetLater(): void {
    for (const timer of this.#later.values()) timer.cancel();
    this.#later.clear();
  }

  #failureText(wanted: WantedComponent, error: unknown): string {
    const failure = initFailure(wanted, error instanceof Error ? error.message : String(error));
    this.#log.error({ error }, `Failed to init component ${logName(wanted)}: ${failure}`);
    // daprd wraps the failure twice, and its tests look for that.
    const shown = this.#options.isStrict && !(error instanceof DuplicateActorStore);
    return `process component ${wanted.name} error: ${shown ? initFailure(wanted, failure) : failure}`;
  }

  #claimActorStore(loaded: LoadedComponent<ComponentKind>): DuplicateActorStore | undefined {
    if (!isActorStore(loaded)) return undefined;
    if (this.#actorStore !== undefined) return new DuplicateActorStore(this.#actorStore, loaded.name);
    this.#actorStore = loaded.name;
    return undefined;
  }

  #count(name: string, { type }: WantedComponent, labels: Record<string, string>): void {
    const { metrics, principal } = this.#options;
    metrics?.counter(name, { app_id: principal.appId, component: type, ...labels }).add();
  }

  async #applyNow(resources: readonly ComponentResource[]): Promise<void> {
    let wanted: WantedComponent[];
    try {
      wanted = this.#select(resources);
    } catch (error) {
      this.#log.error({}, `components are not reloaded: ${(error as Error).message}`);
      return;
    }
    // Those are tried now.
    this.#forgetLater();
    const names = new Set(wanted.map((one) => one.name));
    for (const open of [...this.#open.values()]) if (!names.has(open.wanted.name)) await this.#remove(open);
    for (const one of wanted) {
      const current = this.#open.get(one.name);
      if (current?.print !== fingerprint(one)) await this.#replace(one, current);
    }
  }

  async #remove(open: Open): Promise<void> {
    if (this.#refusesReload(open.wanted, open)) return;
    this.#open.delete(open.wanted.name);
    this.#log.info({}, `Component deleted: ${logName(open.wanted)}`);
    this.#announce(open, "removed");
    await this.#closeInstance(open);
  }

  /** The new one is opened before the old one is closed, so that calls always find one. */
  async #replace(wanted: WantedComponent, current: Open | undefined, tries = 0): Promise<void> {
    if (this.#refusesReload(wanted, current)) return;
    let loaded: LoadedComponent<ComponentKind>;
    try {
      loaded = await openComponent(wanted, this.#scope);
    } catch (error) {
      const kept = current ? "; the old version stays" : "";
      const cause = error instanceof Error ? error.message : String(error);
      this.#log.error({ error }, `${initFailure(wanted, cause)}${kept}`);
      // A server on its way up may refuse before it serves.
      if (!current && (tries > 0 || isUnreachable(error))) this.#tryLater(wanted, tries);
      return;
    }
    const open: Open = { wanted, loaded, print: fingerprint(wanted) };
    this.#open.set(wanted.name, open);
    this.#log.info({}, `Component ${current ? "updated" : "loaded"}: ${logName(wanted)}`);
    if (current && current.loaded.kind !== loaded.kind) this.#announce(current, "removed");
    this.#announce(open, current && current.loaded.kind === loaded.kind ? "replaced" : "added");
    if (current) await this.#closeInstance(current);
  }

  /** As Dapr: actors and workflows can not change their store under way. */
  #refusesReload(wanted: WantedComponent, current: Open | undefined): boolean {
    // The implicit one may give way to a resource that does not ask for actors itself.
    const isInUse =
      current !== undefined &&
      isActorStore(current.loaded) &&
      (current.wanted.resource !== undefined || wanted.resource === undefined);
    if (!isInUse && !asksForActors(wanted)) return false;
    const name = logName(wanted);
    this.#log.error(
      {},
      `Aborting to hot-reload a state store component that is used as an actor state store: ${name}`,
    );
    return true;
  }

  #announce({ loaded: { kind, name } }: Open, action: ComponentChange["action"]): void {
    for (const listener of this.#listeners) {
      try {
        listener({ kind, name, action });
      } catch (error) {
        this.#log.error({ error, component: name }, "a listener of component changes failed");
      }
    }
  }

  async #closeInstance({ wanted, loaded }: Open): Promise<void> {
    try {
      await loaded.instance.close();
    } catch (error) {
      this.#log.warn({ error, component: wanted.name }, "component could not be closed");
    }
  }

  #secretStore(named: string): SecretStore {
    // Outside strict mode the store that every app has answers for those who name none.
    const name = named || (this.#options.isStrict ? "" : "secretstore");
    if (name === "") throw new Error("secretKeyRef needs auth.secretStore, the name of a secret store");
    const found = this.find("secretstores", name);
    if (!found) throw new Error(`secret store ${name} is not loaded`);
    return found.instance;
  }
}

class DuplicateActorStore extends Error {
  constructor(first: string, second: string) {
    super(`detected duplicate actor state store: ${first} and ${second}`);
  }
}

function isSecretStore({ type }: WantedComponent): boolean {
  return kindOf(type) === "secretstores";
}

function isActorStore({ kind, properties }: LoadedComponent<ComponentKind>): boolean {
  return kind === "state" && isTrue(properties.get("actorstatestore"));
}

/** Any mention counts at a reload, as in Dapr. */
function asksForActors(wanted: WantedComponent): boolean {
  return wanted.resource !== undefined && mentionsActors(wanted);
}

function isTrue(value: string | undefined): boolean {
  try {
    return value !== undefined && parseFlag(value);
  } catch {
    // The options were parsed before; this is a component that reads the field itself.
    return false;
  }
}

/** Groups components so that each round only needs secret stores of earlier rounds; the rest goes last and fails. */
function rounds(wanted: readonly WantedComponent[]): WantedComponent[][] {
  const result: WantedComponent[][] = [];
  const ready = new Set<string>();
  let left = wanted.filter(isSecretStore);
  while (left.length > 0) {
    const round = left.filter((one) => !needsSecrets(one) || ready.has(one.secretStore || "secretstore"));
    if (round.length === 0) break;
    for (const one of round) ready.add(one.name);
    result.push(round);
    left = left.filter((one) => !round.includes(one));
  }
  return [...result, [...left, ...wanted.filter((one) => !isSecretStore(one))]];
}

function needsSecrets({ items }: WantedComponent): boolean {
  return items.some((item) => item.secretKeyRef !== undefined);
}
