import { actorErrors } from "./faults/actors.ts";
import { conversationErrors } from "./faults/conversation.ts";
import { cryptoErrors } from "./faults/crypto.ts";
import { Code, fault } from "./faults/fault.ts";
import { idempotencyErrors } from "./faults/idempotency.ts";
import { jobErrors } from "./faults/jobs.ts";
import { workflowErrors } from "./faults/workflow.ts";

export { Code, Fault, type FaultOptions, httpStatusOf } from "./faults/fault.ts";

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
  /** Not Dapr's: an AuthorizationPolicy said no; which one is told in the log alone. */
  ACCESS_DENIED: fault("ERR_ACCESS_DENIED", 403, PermissionDenied, () => "RBAC: access denied"),
  /** Not Dapr's: what a policy of mecha's answers in the place of a target. */
  POLICY: fault("ERR_POLICY", 503, Code.Unavailable, (why: string) => why),
  /** Not Dapr's: a RateLimit resource. */
  RATE_LIMIT: fault("ERR_RATE_LIMIT", 429, Code.ResourceExhausted, (why: string) => why),
  /** Not Dapr's, as the next: what keeps web pages away from an API without token. */
  HOST_REFUSED: fault(
    "ERR_HOST_REFUSED",
    403,
    PermissionDenied,
    (host: string) =>
      `the API is not served under the name "${host}"; allow it with --allowed-hosts, or ask for a token (DAPR_API_TOKEN)`,
  ),
  ORIGIN_REFUSED: fault(
    "ERR_ORIGIN_REFUSED",
    403,
    PermissionDenied,
    (origin: string) =>
      `web pages of "${origin}" may not use the API; allow them with --allowed-origins, or ask for a token (DAPR_API_TOKEN)`,
  ),
  /** Not Dapr's: `only-if-cached` of a caller, and nothing is. */
  NOT_CACHED: fault("ERR_NOT_CACHED", 504, Code.Unavailable, () => "no stored answer may be used"),
  CACHE_PURGE: fault("ERR_CACHE_PURGE", 400, InvalidArgument, (why: string) => why),
  CACHE_STORE: fault("ERR_CACHE_STORE", 503, Code.Unavailable, (why: string) => why),
  /** Not Dapr's: what a route answers in the place of a backend. */
  ROUTE: fault("ERR_ROUTE", 503, Code.Unavailable, (why: string) => why),
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
  PUBLISH_OUTBOX: fault(
    "ERR_PUBLISH_OUTBOX",
    500,
    Internal,
    (why: string) => `error while publishing outbox message: ${why}`,
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

  // Elections (mecha's own)
  ELECTION_NAME: fault(
    "ERR_ELECTION_NAME",
    400,
    InvalidArgument,
    (what: string) => `the ${what} of an election has to be 1 to 200 printable characters`,
  ),
  ELECTION_FORBIDDEN: fault(
    "ERR_ELECTION_FORBIDDEN",
    403,
    PermissionDenied,
    (appId: string, group: string) => `app ${appId} is no member of the singleton group ${group}`,
  ),
  ELECTION_NOT_LEADER: fault(
    "ERR_ELECTION_NOT_LEADER",
    409,
    FailedPrecondition,
    (group: string, token: string) => `nobody leads the group ${group} with the fencing token ${token}`,
  ),
  ELECTION_TOO_MANY: fault(
    "ERR_ELECTION_TOO_MANY",
    429,
    Code.ResourceExhausted,
    (max: string) => `the app has ${max} campaigns under way, more are refused`,
  ),
  ELECTION: fault("ERR_ELECTION", 500, Internal, (why: string) => `the election failed: ${why}`),

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

  // Bindings
  INVOKE_BINDING: fault(
    "ERR_INVOKE_OUTPUT_BINDING",
    500,
    Internal,
    (name: string, why: string) => `error invoking output binding ${name}: ${why}`,
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
  ...workflowErrors,
  ...jobErrors,
  ...actorErrors,
  ...idempotencyErrors,
  ...cryptoErrors,
  ...conversationErrors,
} as const;
