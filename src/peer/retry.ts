import { type Clock, sleep } from "../edges/clock.ts";
import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import { ConnectError } from "../net/http1/errors.ts";
import { failureText } from "./failure.ts";
import type { AppName } from "./identity.ts";
import type { Instance, Registry } from "./registry.ts";

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
}

/**
 * Calls one instance after another until one is reached. Only calls of which nothing was sent are repeated: another
 * instance is tried at once, the same ones again after a pause.
 */
export async function callPeer<T>(
  attempt: PeerAttempt,
  call: (instance: Instance) => Promise<T>,
): Promise<T> {
  const { registry, clock, retry, name, id, request } = attempt;
  let failure: unknown;
  for (let round = 0; ; round++) {
    const known = registry.resolve(name, request);
    const instances = known instanceof Promise ? await known : known;
    if (instances.length === 0) throw failure ? unreachable(id, round, failure) : new UnknownApp(id);
    const tried = new Set<Instance>();
    for (let next = registry.pick(instances); next; next = registry.pick(instances, tried)) {
      try {
        return await counted(next, call);
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

/** Nobody has announced the app. */
export class UnknownApp extends Error {
  constructor(id: string) {
    super(`couldn't find service: ${id}`);
    this.name = "UnknownApp";
  }
}

async function counted<T>(instance: Instance, call: (instance: Instance) => Promise<T>): Promise<T> {
  instance.outstanding++;
  try {
    return await call(instance);
  } finally {
    instance.outstanding--;
  }
}

/** Nothing of the call has left this process. */
function isUnreached(error: unknown): boolean {
  return error instanceof ConnectError && error.code !== "EPOOLFULL";
}

function unreachable(id: string, retries: number, failure: unknown): Error {
  const reason = failureText(new GrpcError(Code.Unavailable, failureText(failure)));
  return new Error(`failed to invoke target ${id} after ${retries} retries. Error: ${reason}`, {
    cause: failure,
  });
}
