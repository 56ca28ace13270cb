import type { ActorCall, ActorRef } from "./engine.ts";

/** How often, and after which pauses, the host of an actor is looked for again. */
export interface SearchPlan {
  retries: number;
  pauseMs(attempt: number): number;
}

/** The seam for Resiliency. */
export interface ActorPolicy {
  /** Runs attempts of a call until one is good or the policy gives up. */
  call<T>(
    actor: ActorRef & { method?: string; headers?: ActorCall["headers"] },
    attempt: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;
  /** How long a turn may take; 0: as long as it likes. */
  turnTimeoutMs(type: string): number;
  /** What takes the place of the built-in search; `undefined`: nothing. */
  search(): SearchPlan | undefined;
}

export const noActorPolicy: ActorPolicy = {
  call: (_actor, attempt, signal) => attempt(signal),
  turnTimeoutMs: () => 0,
  search: () => undefined,
};

/** Several lines are joined. */
export function headerIn(headers: ActorCall["headers"], lowerName: string): string | undefined {
  const lines = headers.flatMap(([name, value]) => (name.toLowerCase() === lowerName ? [value] : []));
  return lines.length === 0 ? undefined : lines.join(", ");
}

/** The app answered a turn with a failure: the cause of the fault that the caller gets. */
export class ActorAppFailure extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`the app answered ${status}`);
    this.name = "ActorAppFailure";
    this.status = status;
  }
}

/** Ends a turn that takes longer than its policy allows: its request to the app is cut off. */
export async function withinTurn<T>(
  timeoutMs: number,
  signal: AbortSignal,
  turn: (signal: AbortSignal) => Promise<T>,
  setTimer: (ms: number, end: () => void) => { cancel(): void },
): Promise<T> {
  if (timeoutMs <= 0) return turn(signal);
  const late = new AbortController();
  const timer = setTimer(timeoutMs, () => late.abort(new Error("context deadline exceeded")));
  try {
    return await turn(AbortSignal.any([signal, late.signal]));
  } catch (error) {
    throw late.signal.aborted ? late.signal.reason : error;
  } finally {
    timer.cancel();
  }
}
