import { Code, fault } from "./fault.ts";

const { InvalidArgument, Internal } = Code;

/** Rows of the catalogue for jobs. */
export const jobErrors = {
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
} as const;
