/**
 * What became of handing an event to the app. `code` is the HTTP status, `grpcCode` the status of a gRPC app. `isHeld`: a
 * policy kept it back, so that it comes again and is no dead letter.
 */
export type Outcome =
  | { kind: "success" }
  | { kind: "drop"; reason: string; asked: boolean }
  | {
      kind: "retry";
      reason: string;
      code?: number | undefined;
      grpcCode?: number | undefined;
      isHeld?: boolean;
    };

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
  from: { pubsubName: string; topic: string; count?: number },
  attempt: (signal: AbortSignal) => Promise<Outcome>,
  signal: AbortSignal,
) => Promise<Outcome>;

/** A policy that gave up without an outcome (its timeout, an open circuit breaker): a failure like any other. */
export function policyFailure(error: unknown): Outcome {
  const why = error instanceof Error ? error.message : String(error);
  return { kind: "retry", reason: `error returned while sending pub/sub event to app: ${why}` };
}

export const oneAttempt: InboundPolicy = (_from, attempt, signal) => attempt(signal);
