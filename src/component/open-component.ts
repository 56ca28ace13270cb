import type { Clock } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import { formatDuration } from "../kit/duration.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Binding } from "./binding.ts";
import type { ComponentKind, ComponentKinds } from "./component.ts";
import type { LoadedComponent } from "./components.ts";
import type { Definitions } from "./definitions.ts";
import { sensitiveNames } from "./describe.ts";
import { SecretHider } from "./hide-secrets.ts";
import { FieldError, kindOf, type ParsedOptions, parseOptions } from "./parse-options.ts";
import { pause, pauseBefore } from "./pause.ts";
import { describePosition, ItemError, type ItemScope, resolveItems, usesNamespace } from "./resolve-items.ts";
import type { SecretStore } from "./secret-store.ts";
import { logName, type WantedComponent } from "./selection.ts";
import { isUnreachable } from "./unreachable.ts";
import { NoAnswer } from "./within-time.ts";

export interface OpenScope {
  definitions: Definitions;
  principal: { appId: string; namespace: string };
  edges: Edges;
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  /** Whether a server that is not there yet is waited for, within the init timeout. */
  isPatient: boolean;
  /** As daprd: metadata fields that nobody knows are only warned about. */
  ignoresUnknown?: boolean;
  /** Finds the store that a component's `secretKeyRef`s ask. Throws with the reason when there is none. */
  secretStoreOf(component: WantedComponent): SecretStore;
}

/** Opens one component within its init timeout. Rejects with the cause, which names the place in the file. */
export async function openComponent(
  wanted: WantedComponent,
  scope: OpenScope,
): Promise<LoadedComponent<ComponentKind>> {
  try {
    return await open(wanted, scope);
  } catch (error) {
    const place = positionOf(wanted, error);
    if (!(error instanceof Error) || place === "") throw error;
    throw new Error(`${error.message} (${place})`, { cause: error.cause ?? error });
  }
}

async function open(wanted: WantedComponent, scope: OpenScope): Promise<LoadedComponent<ComponentKind>> {
  if (wanted.resource !== undefined) refuseElsewhere(wanted.type);
  const definition = await scope.definitions.find(wanted.type, wanted.version);
  const values = await resolveItems(wanted.items, itemScope(wanted, scope));
  const secret = wanted.items.filter((item) => item.secretKeyRef !== undefined || item.envRef !== undefined);
  const hidden = new Set(secret.map((item) => item.name));
  const { options, unknown } = parseOptions(definition, values, hidden);
  const otherFields = new Map(unknown.map(({ field }) => [field, values.get(field) ?? ""]));
  if (!definition.takesOtherFields) refuseUnknown(wanted, unknown, scope);
  const { appId, namespace } = scope.principal;
  const { edges, env, log } = scope;
  const sensitive = sensitiveNames(definition);
  const secrets = [...values].flatMap(([name, value]) =>
    hidden.has(name) || sensitive.has(name.toLowerCase()) ? [value] : [],
  );
  const hider = new SecretHider(secrets);
  const said = { name: wanted.name, appId, namespace, log: hider.log(log) };
  const host = { ...said, edges, env, otherFields, allFields: values };
  const attempts = new Attempts(wanted, scope);
  // Drivers quote connection strings and the like when they can not connect, and answers that quote the question.
  const opening = attempts.run(() => definition.open(options, host));
  const instance = await within(wanted, opening, { clock: edges.clock, attempts }).catch((error: unknown) => {
    throw hider.error(error);
  });
  const kind = kindOf(definition.type) as ComponentKind;
  return {
    kind,
    name: wanted.name,
    type: wanted.type,
    version: wanted.version,
    instance: hider.instance(instance),
    properties: new Map([...values].map(([name, value]) => [name.toLowerCase(), value])),
    capabilities: capabilitiesOf(kind, instance),
    isNamespaceScoped: usesNamespace(wanted.items),
  };
}

/** What Dapr ignores is only warned about where mecha stands for it. */
function refuseUnknown(wanted: WantedComponent, unknown: ParsedOptions["unknown"], scope: OpenScope): void {
  for (const { field, message } of unknown) {
    const error = new FieldError(field, message);
    if (!scope.ignoresUnknown) throw error;
    const place = positionOf(wanted, error);
    scope.log.warn({ component: wanted.name, place }, `${message}; it has no effect`);
  }
}

const notHere =
  "name resolution is chosen in spec.nameResolution of a Configuration, not by a resource of kind Component";

/** Throws for what no resource of kind Component is for. */
export function refuseElsewhere(type: string): void {
  if (kindOf(type) === "nameresolution") throw new Error(notHere);
}

export function itemScope(wanted: WantedComponent, scope: OpenScope): ItemScope {
  const { principal, env, edges } = scope;
  return {
    ...principal,
    podName: env.POD_NAME,
    env,
    random: edges.random,
    secretStore: () => scope.secretStoreOf(wanted),
  };
}

/** What the metadata API lists. */
function capabilitiesOf(kind: ComponentKind, instance: ComponentKinds[ComponentKind]): string[] {
  if (kind === "bindings") {
    const { read, invoke } = instance as Binding;
    return [...(read ? ["INPUT_BINDING"] : []), ...(invoke ? ["OUTPUT_BINDING"] : [])];
  }
  const features: string[] = "features" in instance ? [...instance.features] : [];
  const hostsActors = kind === "state" && features.includes("ETAG") && features.includes("TRANSACTIONAL");
  return hostsActors ? [...features, "ACTOR"] : features;
}

const firstPauseMs = 50;
const pauseMaxMs = 1_000;

/** Opens a component, again and again while its server is not there. */
class Attempts {
  /** Why the last one failed. */
  last: Error | undefined;
  readonly #wanted: WantedComponent;
  readonly #scope: OpenScope;
  #isOver = false;

  constructor(wanted: WantedComponent, scope: OpenScope) {
    this.#wanted = wanted;
    this.#scope = scope;
  }

  end(): void {
    this.#isOver = true;
  }

  async run<T>(open: () => Promise<T>): Promise<T> {
    const { isPatient, log, edges } = this.#scope;
    for (let tries = 0; ; tries++) {
      try {
        return await open();
      } catch (error) {
        if (!isPatient || this.#isOver || !isUnreachable(error)) throw error;
        this.last = error as Error;
        const atMost = formatDuration(this.#wanted.initTimeoutMs);
        const text = `the server of component ${logName(this.#wanted)} is not there; trying again for ${atMost}`;
        // The reason may quote what is secret: it is told, without that, when the time is over.
        if (tries === 0) log.warn({}, text);
      }
      const { clock, random } = edges;
      await pause(clock, pauseBefore(tries, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random }));
    }
  }
}

/** A component that is ready too late is closed again. */
function within<T extends { close(): Promise<void> }>(
  { name, initTimeoutMs }: WantedComponent,
  opening: Promise<T>,
  { clock, attempts }: { clock: Clock; attempts: Attempts },
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = clock.setTimer(initTimeoutMs, () => {
      isLate = true;
      attempts.end();
      const why = attempts.last === undefined ? "" : `: ${attempts.last.message}`;
      const text = `init timeout for component ${name} exceeded after ${formatDuration(initTimeoutMs)}${why}`;
      reject(new NoAnswer(text, { cause: attempts.last }));
    });
    opening.then(
      (instance) => {
        timer.cancel();
        // Nobody waits for it any more, so nobody hears of a failing close either.
        if (isLate) instance.close().catch(() => {});
        else resolve(instance);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

function positionOf({ resource, items }: WantedComponent, error: unknown): string {
  if (!resource) return "";
  if (error instanceof ItemError) return describePosition(resource.at("spec", "metadata", error.index));
  if (error instanceof FieldError) {
    const index = items.findIndex((item) => item.name.toLowerCase() === error.field.toLowerCase());
    if (index < 0) return describePosition(resource.at("spec", "metadata"));
    return describePosition(resource.at("spec", "metadata", index, "value"));
  }
  return describePosition(resource.at("spec", "type"));
}

/** The literal line of Dapr's log. */
export function initFailure(wanted: WantedComponent, cause: string): string {
  return `[INIT_COMPONENT_FAILURE]: initialization error occurred for ${logName(wanted)}: ${cause}`;
}
