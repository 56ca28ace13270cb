/** gRPC status codes by their names (google.rpc.Code). */
export const Code = {
  Ok: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

const httpByCode: readonly number[] = [
  200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
];

/** Dapr's mapping of gRPC codes to HTTP statuses (dapr-api.md §2). */
export function httpStatusOf(code: number): number {
  return httpByCode[code] ?? 500;
}

export interface FaultOptions {
  cause?: unknown;
  /** What to do about it; logged, and shown by the CLI, never part of the wire text. */
  hint?: string;
  /** ErrorInfo metadata of a rich error. */
  metadata?: Record<string, string>;
  /** ResourceInfo of a rich error. */
  resource?: { type: string; name: string };
  /** Overrides the HTTP and gRPC status of the table's row (etag mismatch and the like). */
  http?: number;
  grpc?: Code;
  help?: { url: string; description: string };
  violations?: { field: string; description: string }[];
}

interface Row {
  /** The HTTP `errorCode`. */
  code: string;
  /** The reason in google.rpc.ErrorInfo; a rich error is one whose reason differs from its code. */
  reason: string;
  http: number;
  grpc: Code;
}

/** The one error class of the API surface: a code of the table below, mapped to both protocols in one place each. */
export class Fault extends Error {
  readonly code: string;
  readonly reason: string;
  readonly http: number;
  readonly grpc: Code;
  readonly hint: string | undefined;
  readonly options: FaultOptions;

  constructor(row: Row, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Fault";
    this.code = row.code;
    this.reason = row.reason;
    this.http = options.http ?? row.http;
    this.grpc = options.grpc ?? row.grpc;
    this.hint = options.hint;
    this.options = options;
  }

  /** Rich errors carry details over HTTP too. */
  get rich(): boolean {
    return this.reason !== this.code || this.reason.startsWith("DAPR_");
  }

  /** Normalises anything caught at an edge: transports and engine loops only. */
  static from(error: unknown): Fault {
    if (error instanceof Fault) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new Fault({ code: "ERROR", reason: "ERROR", http: 500, grpc: Code.Internal }, message, {
      cause: error,
    });
  }
}

type Make<A extends unknown[]> = ((...args: [...A, options?: FaultOptions]) => Fault) & Row;

/** One row of the table. `parts` are the arguments of the message template. */
function fault<A extends string[]>(
  code: string,
  http: number,
  grpc: Code,
  message: (...parts: A) => string,
  reason = code,
): Make<A> {
  const row: Row = { code, reason, http, grpc };
  const make = (...args: unknown[]): Fault => {
    const last = args.at(-1);
    const options = typeof last === "object" && last !== null ? (args.pop() as FaultOptions) : undefined;
    return new Fault(row, message(...(args as A)), options);
  };
  return Object.assign(make, row);
}

const { InvalidArgument, Internal, FailedPrecondition, NotFound, PermissionDenied, Unimplemented } = Code;

/** The catalogue (dapr-api.md App. A). Message texts are wire contract: SDKs and tests compare them. */
export const errors = {
  // Common
  APP_CHANNEL_NIL: fault("ERR_APP_CHANNEL_NIL", 500, Internal, () => "app channel is not initialized"),
  /** Not Dapr's: mecha's own limit on the calls of one app at once. */
  CALLS_LIMIT: fault(
    "ERR_CALLS_LIMIT",
    429,
    Code.ResourceExhausted,
    (callsMax: string) => `more than ${callsMax} calls at once`,
  ),
  BODY_READ: fault(
    "ERR_BODY_READ",
    400,
    InvalidArgument,
    (why: string) => `failed to read request body: ${why}`,
  ),
  MALFORMED_REQUEST: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (why: string) => `failed deserializing HTTP body: ${why}`,
  ),
  BAGGAGE: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (why: string) => `invalid baggage header: ${why}`,
  ),

  // State
  STATE_STORE_NOT_CONFIGURED: fault(
    "ERR_STATE_STORE_NOT_CONFIGURED",
    500,
    FailedPrecondition,
    (store: string) => `state store ${store} is not configured`,
    "DAPR_STATE_NOT_CONFIGURED",
  ),
  STATE_STORE_NOT_FOUND: fault(
    "ERR_STATE_STORE_NOT_FOUND",
    400,
    InvalidArgument,
    (store: string) => `state store ${store} is not found`,
    "DAPR_STATE_NOT_FOUND",
  ),
  STATE_ILLEGAL_KEY: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (key: string) => `input key/keyPrefix '${key}' can't contain '||'`,
    "DAPR_STATE_ILLEGAL_KEY",
  ),
  STATE_KEY_MISSING: fault("ERR_MALFORMED_REQUEST", 400, InvalidArgument, () => `"key" is a required field`),
  STATE_GET: fault(
    "ERR_STATE_GET",
    500,
    Internal,
    (key: string, store: string, why: string) => `fail to get ${key} from state store ${store}: ${why}`,
  ),
  STATE_BULK_GET: fault("ERR_STATE_BULK_GET", 500, Internal, (why: string) => why),
  STATE_SAVE: fault(
    "ERR_STATE_SAVE",
    500,
    Internal,
    (store: string, why: string) => `failed saving state in state store ${store}: ${why}`,
  ),
  STATE_DELETE: fault(
    "ERR_STATE_DELETE",
    500,
    Internal,
    (key: string, why: string) => `failed deleting state with key ${key}: ${why}`,
  ),
  STATE_BULK_DELETE: fault(
    "ERR_STATE_BULK_DELETE",
    500,
    Internal,
    (store: string, why: string) => `failed deleting state in state store ${store}: ${why}`,
  ),
  STATE_OPERATION_NOT_SUPPORTED: fault(
    "ERR_NOT_SUPPORTED_STATE_OPERATION",
    400,
    Unimplemented,
    (type: string) => `operation type ${type} not supported`,
  ),
  STATE_TRANSACTION: fault(
    "ERR_STATE_TRANSACTION",
    500,
    Internal,
    (why: string) => `error while executing state transaction: ${why}`,
  ),
  STATE_TRANSACTIONS_NOT_SUPPORTED: fault(
    "ERR_STATE_STORE_NOT_SUPPORTED",
    500,
    Unimplemented,
    (store: string) => `state store ${store} doesn't support transactions`,
    "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED",
  ),
  STATE_TOO_MANY_TRANSACTIONS: fault(
    "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
    400,
    InvalidArgument,
    (count: string, max: string) =>
      `the transaction contains ${count} operations, which is more than what the state store supports: ${max}`,
    "DAPR_STATE_TOO_MANY_TRANSACTIONS",
  ),
  STATE_QUERY: fault(
    "ERR_STATE_QUERY",
    500,
    Internal,
    (store: string, why: string) => `state store ${store} query failed: ${why}`,
    "DAPR_STATE_QUERY_FAILED",
  ),
  STATE_QUERY_NOT_SUPPORTED: fault(
    "ERR_STATE_STORE_NOT_SUPPORTED",
    500,
    Internal,
    () => "state store does not support querying",
    "DAPR_STATE_QUERYING_NOT_SUPPORTED",
  ),

  // Pub/sub
  PUBSUB_NOT_CONFIGURED: fault(
    "ERR_PUBSUB_NOT_CONFIGURED",
    400,
    FailedPrecondition,
    (name: string) => `pubsub ${name} is not configured`,
    "DAPR_PUBSUB_NOT_CONFIGURED",
  ),
  PUBSUB_NOT_FOUND: fault(
    "ERR_PUBSUB_NOT_FOUND",
    404,
    InvalidArgument,
    (name: string) => `pubsub ${name} is not found`,
    "DAPR_PUBSUB_NOT_FOUND",
  ),
  PUBSUB_NAME_EMPTY: fault(
    "ERR_PUBSUB_EMPTY",
    404,
    InvalidArgument,
    () => "pubsub name is empty",
    "DAPR_PUBSUB_NAME_EMPTY",
  ),
  PUBSUB_TOPIC_EMPTY: fault(
    "ERR_TOPIC_NAME_EMPTY",
    404,
    InvalidArgument,
    (name: string) => `topic is empty in pubsub ${name}`,
    "DAPR_PUBSUB_TOPIC_NAME_EMPTY",
  ),
  PUBSUB_FORBIDDEN: fault(
    "ERR_PUBSUB_FORBIDDEN",
    403,
    PermissionDenied,
    (topic: string, appId: string) => `topic ${topic} is not allowed for app id ${appId}`,
    "DAPR_PUBSUB_FORBIDDEN",
  ),
  PUBSUB_PUBLISH: fault(
    "ERR_PUBSUB_PUBLISH_MESSAGE",
    500,
    Internal,
    (topic: string, name: string, why: string) =>
      `error when publishing to topic ${topic} in pubsub ${name}: ${why}`,
    "DAPR_PUBSUB_PUBLISH_MESSAGE",
  ),
  PUBSUB_METADATA: fault(
    "ERR_PUBSUB_REQUEST_METADATA",
    400,
    InvalidArgument,
    (why: string) => `failed deserializing metadata. Error: ${why}`,
    "DAPR_PUBSUB_METADATA_DESERIALIZATION",
  ),
  PUBSUB_CLOUD_EVENT: fault(
    "ERR_PUBSUB_CLOUD_EVENTS_SER",
    500,
    InvalidArgument,
    () => "cannot create cloudevent",
    "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
  ),
  PUBSUB_ENVELOPE: fault(
    "ERR_PUBSUB_EVENTS_SER",
    400,
    InvalidArgument,
    (topic: string, name: string, why: string) =>
      `error when marshalling cloud event envelope for topic ${topic} pubsub ${name}: ${why}`,
    "DAPR_PUBSUB_MARSHAL_ENVELOPE",
  ),
  PUBSUB_MARSHAL_EVENTS: fault(
    "ERR_PUBSUB_EVENTS_SER",
    400,
    InvalidArgument,
    (topic: string, name: string, why: string) =>
      `error marshaling events to bytes for topic ${topic} pubsub ${name}. error: ${why}`,
    "DAPR_PUBSUB_MARSHAL_EVENTS",
  ),
  PUBSUB_UNMARSHAL_EVENTS: fault(
    "ERR_PUBSUB_EVENTS_SER",
    400,
    InvalidArgument,
    (topic: string, name: string, why: string) =>
      `error when unmarshaling the request for topic ${topic} pubsub ${name}: ${why}`,
    "DAPR_PUBSUB_UNMARSHAL_EVENTS",
  ),

  STREAM_REQUEST: fault("ERR_BAD_REQUEST", 400, InvalidArgument, (why: string) => why),

  // Secrets
  SECRET_STORES_NOT_CONFIGURED: fault(
    "ERR_SECRET_STORES_NOT_CONFIGURED",
    500,
    FailedPrecondition,
    () => "secret store is not configured",
  ),
  SECRET_STORE_NOT_FOUND: fault(
    "ERR_SECRET_STORE_NOT_FOUND",
    401,
    InvalidArgument,
    (store: string) => `failed finding secret store with key ${store}`,
  ),
  SECRET_DENIED: fault(
    "ERR_PERMISSION_DENIED",
    403,
    PermissionDenied,
    (key: string, store: string) => `access denied by policy to get "${key}" from "${store}"`,
  ),
  SECRET_GET: fault(
    "ERR_SECRET_GET",
    500,
    Internal,
    (key: string, store: string, why: string) =>
      `failed getting secret with key ${key} from secret store ${store}: ${why}`,
  ),
  SECRET_BULK_GET: fault(
    "ERR_SECRET_GET",
    500,
    Internal,
    (store: string, why: string) => `failed getting secrets from secret store ${store}: ${why}`,
  ),

  // Configuration
  CONFIGURATION_NOT_CONFIGURED: fault(
    "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
    500,
    FailedPrecondition,
    () => "configuration stores not configured",
  ),
  CONFIGURATION_NOT_FOUND: fault(
    "ERR_CONFIGURATION_STORE_NOT_FOUND",
    400,
    InvalidArgument,
    (store: string) => `configuration store ${store} not found`,
  ),
  CONFIGURATION_GET: fault(
    "ERR_CONFIGURATION_GET",
    500,
    Internal,
    (keys: string, store: string, why: string) =>
      `failed to get ${keys} from Configuration store ${store}: ${why}`,
  ),
  CONFIGURATION_SUBSCRIBE: fault(
    "ERR_CONFIGURATION_SUBSCRIBE",
    500,
    Internal,
    (keys: string, store: string, why: string) =>
      `failed to subscribe ${keys} from Configuration store ${store}: ${why}`,
  ),
  CONFIGURATION_UNSUBSCRIBE: fault(
    "ERR_CONFIGURATION_UNSUBSCRIBE",
    500,
    Internal,
    (id: string, why: string) => `failed to unsubscribe to configuration request ${id}: ${why}`,
  ),

  // Lock
  LOCK_NOT_CONFIGURED: fault(
    "ERR_LOCK_STORE_NOT_CONFIGURED",
    500,
    FailedPrecondition,
    () => "lock store is not configured",
  ),
  LOCK_NOT_FOUND: fault(
    "ERR_LOCK_STORE_NOT_FOUND",
    400,
    InvalidArgument,
    (store: string) => `lock store ${store} not found`,
  ),
  LOCK_RESOURCE_EMPTY: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (store: string) => `ResourceId is empty in lock store ${store}`,
  ),
  LOCK_OWNER_EMPTY: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (store: string) => `LockOwner is empty in lock store ${store}`,
  ),
  LOCK_EXPIRY: fault(
    "ERR_MALFORMED_REQUEST",
    400,
    InvalidArgument,
    (store: string) => `ExpiryInSeconds is not positive in lock store ${store}`,
  ),
  TRY_LOCK: fault("ERR_TRY_LOCK", 500, Internal, (why: string) => `failed to try acquiring lock: ${why}`),
  UNLOCK: fault("ERR_UNLOCK", 500, Internal, (why: string) => `failed to release lock: ${why}`),

  // Service invocation
  INVOKE: fault(
    "ERR_DIRECT_INVOKE",
    500,
    Internal,
    (id: string, why: string) => `failed to invoke, id: ${id}, err: ${why}`,
  ),
  INVOKE_NO_APP_ID: fault(
    "ERR_DIRECT_INVOKE",
    404,
    NotFound,
    () => "failed getting app id either from the URL path or the header dapr-app-id",
  ),
  INVOKE_NOT_READY: fault("ERR_DIRECT_INVOKE", 500, Internal, () => "invoke API is not ready"),

  // Workflows
  WORKFLOW_GET: fault(
    "ERR_GET_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error while getting workflow info on instance '${id}': ${why}`,
  ),
  WORKFLOW_START: fault(
    "ERR_START_WORKFLOW",
    500,
    Internal,
    (name: string, why: string) => `error starting workflow '${name}': ${why}`,
  ),
  WORKFLOW_PAUSE: fault(
    "ERR_PAUSE_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error pausing workflow ${id}: ${why}`,
  ),
  WORKFLOW_RESUME: fault(
    "ERR_RESUME_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error resuming workflow ${id}: ${why}`,
  ),
  WORKFLOW_TERMINATE: fault(
    "ERR_TERMINATE_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error terminating workflow '${id}': ${why}`,
  ),
  WORKFLOW_PURGE: fault(
    "ERR_PURGE_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error purging workflow ${id}: ${why}`,
  ),
  WORKFLOW_RAISE_EVENT: fault(
    "ERR_RAISE_EVENT_WORKFLOW",
    500,
    Internal,
    (id: string, why: string) => `error raising event on workflow '${id}': ${why}`,
  ),
  WORKFLOW_COMPONENT_MISSING: fault(
    "ERR_WORKFLOW_COMPONENT_MISSING",
    400,
    InvalidArgument,
    () => "no workflow component was provided",
  ),
  WORKFLOW_EVENT_NAME_MISSING: fault(
    "ERR_WORKFLOW_EVENT_NAME_MISSING",
    400,
    InvalidArgument,
    () => "missing workflow event name",
  ),
  WORKFLOW_NAME_MISSING: fault(
    "ERR_WORKFLOW_NAME_MISSING",
    400,
    InvalidArgument,
    () => "workflow name is not configured",
  ),
  WORKFLOW_ID_INVALID: fault(
    "ERR_INSTANCE_ID_INVALID",
    400,
    InvalidArgument,
    (id: string) =>
      `workflow instance ID '${id}' is invalid: only alphanumeric and underscore characters are allowed`,
  ),
  WORKFLOW_ID_NOT_FOUND: fault(
    "ERR_INSTANCE_ID_NOT_FOUND",
    404,
    NotFound,
    (id: string) => `unable to find workflow with the provided instance ID: ${id}`,
  ),
  WORKFLOW_ID_MISSING: fault(
    "ERR_INSTANCE_ID_PROVIDED_MISSING",
    400,
    InvalidArgument,
    () => "no instance ID was provided",
  ),
  WORKFLOW_ID_TOO_LONG: fault(
    "ERR_INSTANCE_ID_TOO_LONG",
    400,
    InvalidArgument,
    (max: string) => `workflow instance ID exceeds the max length of ${max} characters`,
  ),
  /** The rows below have no code in Dapr: they are the bare errors of the worker protocol. */
  WORKFLOW_NOT_FOUND: fault("ERR_WORKFLOW_NOT_FOUND", 404, NotFound, () => "no such instance exists"),
  WORKFLOW_ACTIVE: fault(
    "ERR_WORKFLOW_ACTIVE",
    409,
    Code.AlreadyExists,
    (id: string) => `an active workflow with ID '${id}' already exists`,
  ),
  WORKFLOW_NOT_COMPLETED: fault(
    "ERR_WORKFLOW_NOT_COMPLETED",
    400,
    FailedPrecondition,
    () => "workflow has not yet completed",
  ),
  WORKFLOW_RERUN: fault("ERR_WORKFLOW_RERUN", 400, InvalidArgument, (why: string) => why),
  WORKFLOW_EVENT_NOT_FOUND: fault("ERR_WORKFLOW_EVENT_NOT_FOUND", 404, NotFound, (why: string) => why),
  WORKFLOW_ITEM_UNKNOWN: fault("ERR_WORKFLOW_ITEM_UNKNOWN", 404, NotFound, (why: string) => why),
  WORKFLOW_WAIT_ENDED: fault(
    "ERR_WORKFLOW_WAIT_ENDED",
    503,
    Code.Unavailable,
    (id: string) => `nobody waits for instance '${id}' any more`,
  ),

  // Bindings
  INVOKE_BINDING: fault(
    "ERR_INVOKE_OUTPUT_BINDING",
    500,
    Internal,
    (name: string, why: string) => `error invoking output binding ${name}: ${why}`,
  ),

  // Jobs
  JOB_SCHEDULE: fault(
    "DAPR_SCHEDULER_SCHEDULE_JOB",
    500,
    Internal,
    (why: string) => `failed to schedule job due to: ${why}`,
  ),
  JOB_NAME: fault("DAPR_SCHEDULER_JOB_NAME", 400, InvalidArgument, () => "Set the job name in the url only"),
  JOB_NAME_EMPTY: fault("DAPR_SCHEDULER_JOB_NAME_EMPTY", 400, InvalidArgument, () => "Name is empty"),
  JOB_EMPTY: fault("DAPR_SCHEDULER_EMPTY", 400, InvalidArgument, () => "Job is empty"),
  JOB_SCHEDULE_EMPTY: fault("DAPR_SCHEDULER_SCHEDULE_EMPTY", 400, InvalidArgument, () => "Schedule is empty"),
  JOB_GET: fault(
    "DAPR_SCHEDULER_GET_JOB",
    500,
    Internal,
    (why: string) => `failed to get job due to: ${why}`,
  ),
  JOB_LIST: fault(
    "DAPR_SCHEDULER_LIST_JOBS",
    500,
    Internal,
    (why: string) => `failed to list jobs due to: ${why}`,
  ),
  JOB_DELETE: fault(
    "DAPR_SCHEDULER_DELETE_JOB",
    500,
    Internal,
    (why: string) => `failed to delete job due to: ${why}`,
  ),

  // Actors
  ACTOR_INSTANCE_MISSING: fault(
    "ERR_ACTOR_INSTANCE_MISSING",
    400,
    Internal,
    () => "actor instance is missing",
  ),
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

  // Health
  HEALTH_NOT_READY: fault(
    "ERR_HEALTH_NOT_READY",
    500,
    Internal,
    (targets: string) => `dapr is not ready: [${targets}]`,
  ),
  HEALTH_APPID: fault("ERR_HEALTH_APPID_NOT_MATCH", 500, Internal, () => "dapr app-id does not match"),
  OUTBOUND_NOT_READY: fault(
    "ERR_OUTBOUND_HEALTH_NOT_READY",
    500,
    Internal,
    () => "dapr outbound is not ready",
  ),
} as const;
