import { Code, fault } from "./fault.ts";

/** Idempotency and effects: mecha's own. */
export const idempotencyErrors = {
  IDEMPOTENCY_KEY: fault(
    "ERR_IDEMPOTENCY_KEY",
    400,
    Code.InvalidArgument,
    (why: string) => `the idempotency key can not be used: ${why}`,
  ),
  IDEMPOTENCY_KEY_REUSED: fault(
    "ERR_IDEMPOTENCY_KEY_REUSED",
    422,
    Code.InvalidArgument,
    () => "the idempotency key was used before with another request",
  ),
  IDEMPOTENCY_IN_FLIGHT: fault(
    "ERR_IDEMPOTENCY_IN_FLIGHT",
    409,
    Code.Aborted,
    () => "a request with this idempotency key is still being handled",
  ),
  IDEMPOTENCY_REPLY_LOST: fault(
    "ERR_IDEMPOTENCY_REPLY_LOST",
    409,
    Code.FailedPrecondition,
    () => "the request with this idempotency key was handled; its reply was too large to be stored",
  ),
  EFFECTS_INVALID: fault(
    "ERR_EFFECTS_INVALID",
    500,
    Code.Internal,
    (why: string) => `the effects that the app answered can not be applied: ${why}`,
  ),
  EFFECTS_CONFLICT: fault(
    "ERR_EFFECTS_CONFLICT",
    409,
    Code.Aborted,
    (why: string) => `the effects that the app answered can not be applied: ${why}`,
  ),
} as const;
