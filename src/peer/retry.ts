import { type Clock, sleep } from "../edges/clock.ts";
import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import { ConnectError } from "../net/http1/errors.ts";
import { failureText } from "./failure.ts";
import type { AppName } from "./identity.ts";
import type { Instance, Registry } from "./registry.ts";
import { type Aim, inSubset, type Stick } from "./subset.ts";

/** How often and how fast calls that reached nobody are tried again: Dapr's DaprBuiltInServiceRetries by default. */
export interface ConnectRetry {
  retries: number;
  pauseMs(attempt: number): number;
}

export const builtInServiceRetries: ConnectRetry = { retries: 3, pauseMs: () => 1000 };

export interface PeerAttempt {
  registry: Registry;
  clock: Clock;
  retry: ConnectRetry;
  name: AppName;
  /** The id as the caller gave it, for the error text. */
  id: string;
  /** Whose signal ends the attempts; only looked at when there is something to wait for. */
  request: { readonly signal: AbortSignal };
  /** What a route asks of the instance. */
  aim?: Aim | undefined;
  /** Present: a policy chooses, and hears how calls go. */
  choice?: Choice | undefined;
}

export interface Choice {
  /** `undefined`: there is none that may be tried. */
  pick(instances: readonly Instance[], tried?: ReadonlySet<Instance>): Instance | undefined;
  run<T>(instance: Instance, call: (instance: Instance) => Promise<T>): Promise<T>;
}

/**
 * Calls one instance after another until one is reached. Only calls of which nothing was sent are repeated: another
 * instance is tried at once, the same ones again after a pause.
 */
export async function callPeer<T>(
  attempt: PeerAttempt,
  call: (instance: Instance) => Promise<T>,
): Promise<T> {
  const { registry, clock, retry, name, id, request, aim, choice } = attempt;
  const chooser = choice ?? registry;
  let failure: unknown;
  for (let round = 0; ; round++) {
    const known = registry.resolve(name, request);
    const instances = inSubset(known instanceof Promise ? await known : known, aim?.subset);
    if (instances.length === 0)
      throw failure ? unreachable(id, round, failure) : new UnknownApp(id, registry.hintFor(name));
    const tried = new Set<Instance>();
    const first = aim?.stick === undefined ? undefined : stuck(instances, aim.stick, clock);
    for (let next = first ?? chooser.pick(instances); next; next = chooser.pick(instances, tried)) {
      try {
        aim?.stick?.chosen(next.instanceId);
        if (choice !== undefined) return await choice.run(next, call);
        next.outstanding++;
        try {
          return await call(next);
        } finally {
          next.outstanding--;
        }
      } catch (error) {
        if (!isUnreached(error)) throw error;
        tried.add(next);
        registry.suspect(next);
        failure = error;
      }
    }
    if (round === retry.retries || request.signal.aborted) throw unreachable(id, round, failure);
    await sleep(clock, retry.pauseMs(round + 1), request.signal);
  }
}

/** The instance of a session, unless it is gone or was not reached a moment ago. */
function stuck(instances: readonly Instance[], { instanceId }: Stick, clock: Clock): Instance | undefined {
  if (instanceId === "") return undefined;
  const found = instances.find((instance) => instance.instanceId === instanceId);
  return found !== undefined && found.suspectUntilMs <= clock.monotonicMs() ? found : undefined;
}

/** Nobody has announced the app. */
export class UnknownApp extends Error {
  readonly hint: string | undefined;

  constructor(id: string, hint: string | undefined) {
    super(`couldn't find service: ${id}`);
    this.name = "UnknownApp";
    this.hint = hint;
  }
}

/** Nothing of the call has left this process. */
function isUnreached(error: unknown): boolean {
  return error instanceof ConnectError && error.code !== "EPOOLFULL";
}

/** No instance was reached. */
export class UnreachedApp extends Error {}

function unreachable(id: string, retries: number, failure: unknown): UnreachedApp {
  const reason = failureText(new GrpcError(Code.Unavailable, failureText(failure)));
  return new UnreachedApp(`failed to invoke target ${id} after ${retries} retries. Error: ${reason}`, {
    cause: failure,
  });
}
