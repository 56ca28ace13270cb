import {
  getActorReminder,
  listActorReminders,
  registerActorReminder,
  registerActorTimer,
  unregisterActorReminder,
  unregisterActorRemindersByType,
  unregisterActorTimer,
} from "./actor-alarms.ts";
import { executeActorStateTransaction, getActorState } from "./actor-state.ts";
import { subscribeActorEvents } from "./actor-stream.ts";
import { invokeActor, invokeActorHttp } from "./actors.ts";
import { invokeBinding } from "./bindings.ts";
import { listCaches, purgeCache } from "./cache.ts";
import {
  getConfiguration,
  subscribeConfiguration,
  subscribeConfigurationHttp,
  unsubscribeConfiguration,
  unsubscribeConfigurationHttp,
} from "./configuration.ts";
import { conversationOperations } from "./conversation.ts";
import { cryptoOperations } from "./crypto.ts";
import { electionOperations } from "./election.ts";
import { healthz, healthzOutbound } from "./health.ts";
import { invokeFallback, invokeMethod, invokeService } from "./invoke.ts";
import { deleteJobsOver, pageJobs } from "./job-pages.ts";
import { deleteJob, deleteJobsByPrefix, getJob, listJobs, scheduleJob } from "./jobs.ts";
import { tryLock, unlock } from "./lock.ts";
import { getMetadata, setMetadata } from "./metadata.ts";
import type { Operation } from "./operation.ts";
import { bulkPublishEvent, publishEvent } from "./publish.ts";
import { listSchedules } from "./schedules.ts";
import { getBulkSecret, getSecret } from "./secrets.ts";
import { shutdown } from "./shutdown.ts";
import { getBulkState, getState, queryState } from "./state-read.ts";
import { deleteBulkState, deleteState, executeStateTransaction, saveState } from "./state-write.ts";
import { subscribeTopicEvents } from "./subscribe.ts";
import { subtleCryptoOperations } from "./subtle-crypto.ts";
import { workflowOperations } from "./workflow.ts";
import { workerOperations } from "./workflow-worker.ts";

/** What Dapr does not have; `mecha daprd` does without. */
const extensions: Operation[] = [
  ...electionOperations,
  listSchedules,
  pageJobs,
  deleteJobsOver,
  listCaches,
  purgeCache,
];

/** The operations of Dapr's API. */
const daprOperations: Operation[] = [
  getState,
  getBulkState,
  queryState,
  saveState,
  deleteState,
  deleteBulkState,
  executeStateTransaction,
  publishEvent,
  bulkPublishEvent,
  subscribeTopicEvents,
  invokeMethod,
  invokeFallback,
  invokeService,
  invokeBinding,
  getSecret,
  getBulkSecret,
  getConfiguration,
  subscribeConfiguration,
  ...subscribeConfigurationHttp,
  unsubscribeConfiguration,
  ...unsubscribeConfigurationHttp,
  tryLock,
  unlock,
  ...cryptoOperations,
  ...subtleCryptoOperations,
  ...conversationOperations,
  invokeActor,
  invokeActorHttp,
  subscribeActorEvents,
  getActorState,
  executeActorStateTransaction,
  registerActorTimer,
  unregisterActorTimer,
  registerActorReminder,
  unregisterActorReminder,
  getActorReminder,
  listActorReminders,
  unregisterActorRemindersByType,
  scheduleJob,
  getJob,
  deleteJob,
  deleteJobsByPrefix,
  listJobs,
  ...workflowOperations,
  ...workerOperations,
  getMetadata,
  setMetadata,
  healthz,
  healthzOutbound,
  shutdown,
];

export const operations: Operation[] = [...daprOperations, ...extensions];

/** Everything, or in strict mode just what daprd serves. */
export function operationsOf({ isStrict }: { isStrict: boolean }): Operation[] {
  return isStrict ? daprOperations : operations;
}
