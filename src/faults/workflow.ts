import { Code, fault } from "./fault.ts";

const { InvalidArgument, Internal, FailedPrecondition, NotFound } = Code;

/** Rows of the catalogue for workflows. */
export const workflowErrors = {
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
} as const;
