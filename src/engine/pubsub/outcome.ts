/** What became of handing an event to the app. */
export type Outcome =
  | { kind: "success" }
  | { kind: "drop"; reason: string; asked: boolean }
  | { kind: "retry"; reason: string; code?: number | undefined };

export const success: Outcome = { kind: "success" };

/** The app answered DROP itself. */
export function droppedByApp(id: string): Outcome {
  return {
    kind: "drop",
    reason: `DROP status returned from app while processing pub/sub event ${id}`,
    asked: true,
  };
}

export function retryAsked(id: string): Outcome {
  return {
    kind: "retry",
    reason: `RETRY status returned from app while processing pub/sub event ${id}`,
  };
}

export function unknownStatus(id: string, status: unknown): Outcome {
  return {
    kind: "retry",
    reason: `unknown status returned from app while processing pub/sub event ${id}, status: ${String(status)}`,
  };
}

/**
 * The seam for inbound Resiliency: runs attempts for a component until one is not a `retry` or the policy gives up.
 * Without a policy there is one attempt.
 */
export type InboundPolicy = (
  component: string,
  attempt: (signal: AbortSignal) => Promise<Outcome>,
  signal: AbortSignal,
) => Promise<Outcome>;

export const oneAttempt: InboundPolicy = (_component, attempt, signal) => attempt(signal);
