import { Code, fault } from "./fault.ts";

const { InvalidArgument, Internal, FailedPrecondition, NotFound, PermissionDenied } = Code;

/** Rows of the catalogue for actors. */
export const actorErrors = {
  ACTOR_INSTANCE_MISSING: fault(
    "ERR_ACTOR_INSTANCE_MISSING",
    400,
    Internal,
    () => "actor instance is missing",
  ),
  ACTOR_STREAM: fault("ERR_BAD_REQUEST", 400, FailedPrecondition, (why: string) => why),
  ACTOR_NAME: fault("ERR_BAD_REQUEST", 400, InvalidArgument, (why: string) => `invalid request: ${why}`),
  ACTOR_INVOKE: fault(
    "ERR_ACTOR_INVOKE_METHOD",
    500,
    Internal,
    (why: string) => `error invoke actor method: ${why}`,
  ),
  ACTOR_RUNTIME_NOT_FOUND: fault(
    "ERR_ACTOR_RUNTIME_NOT_FOUND",
    500,
    Internal,
    () =>
      'the state store is not configured to use the actor runtime. Have you set the - name: actorStateStore value: "true" in your state store component file?',
  ),
  ACTOR_STATE_GET: fault(
    "ERR_ACTOR_STATE_GET",
    500,
    Internal,
    (why: string) => `error getting actor state: ${why}`,
  ),
  ACTOR_STATE_SAVE: fault(
    "ERR_ACTOR_STATE_TRANSACTION_SAVE",
    500,
    Internal,
    (why: string) => `error saving actor transaction state: ${why}`,
  ),
  ACTOR_REMINDER_CREATE: fault(
    "ERR_ACTOR_REMINDER_CREATE",
    500,
    Internal,
    (why: string) => `error creating actor reminder: ${why}`,
  ),
  ACTOR_REMINDER_DELETE: fault(
    "ERR_ACTOR_REMINDER_DELETE",
    500,
    Internal,
    (why: string) => `error deleting actor reminder: ${why}`,
  ),
  ACTOR_REMINDER_GET: fault(
    "ERR_ACTOR_REMINDER_GET",
    500,
    Internal,
    (why: string) => `error getting actor reminder: ${why}`,
  ),
  ACTOR_REMINDER_NON_HOSTED: fault(
    "ERR_ACTOR_REMINDER_NON_HOSTED",
    403,
    PermissionDenied,
    () => "operations on actor reminders are only possible on hosted actor types",
  ),
  ACTOR_TYPE_RESERVED: fault(
    "ERR_ACTOR_TYPE_RESERVED",
    403,
    PermissionDenied,
    (type: string) =>
      `actor type ${JSON.stringify(type)} is reserved for the Dapr workflow runtime; direct actor API access is not permitted`,
  ),
  ACTOR_REMINDER_NOT_FOUND: fault(
    "ERR_ACTOR_REMINDER_NOT_FOUND",
    404,
    NotFound,
    (name: string) => `actor reminder not found: ${name}`,
  ),
  ACTOR_REMINDER_EXISTS: fault(
    "ERR_ACTOR_REMINDER_ALREADY_EXISTS",
    409,
    Code.AlreadyExists,
    (name: string) => `actor reminder already exists: ${name}`,
  ),
  ACTOR_TIMER_CREATE: fault(
    "ERR_ACTOR_TIMER_CREATE",
    500,
    Internal,
    (why: string) => `error creating actor timer: ${why}`,
  ),
  ACTOR_NO_APP_CHANNEL: fault(
    "ERR_ACTOR_NO_APP_CHANNEL",
    400,
    Code.Unavailable,
    () => "app channel is not initialized",
  ),
  ACTOR_STACK_DEPTH: fault(
    "ERR_ACTOR_STACK_DEPTH",
    500,
    Code.ResourceExhausted,
    () => "maximum stack depth exceeded",
  ),
  ACTOR_NO_PLACEMENT: fault(
    "ERR_ACTOR_NO_PLACEMENT",
    400,
    Code.Unavailable,
    () => "placement service is not configured",
  ),
  ACTOR_RUNTIME_CLOSED: fault(
    "ERR_ACTOR_RUNTIME_CLOSED",
    503,
    Code.Unavailable,
    () => "actor runtime is closed",
  ),
  ACTOR_NO_ADDRESS: fault(
    "ERR_ACTOR_NO_ADDRESS",
    404,
    FailedPrecondition,
    (actor: string) => `did not find address for actor '${actor}'`,
  ),
} as const;
