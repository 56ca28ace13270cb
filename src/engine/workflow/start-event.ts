import type { ExecutionStartedEvent } from "../../wire/orchestrator_service_pb.js";
import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import { dueMs } from "./events.ts";
import type { AppName } from "./names.ts";
import type { InstanceRecord } from "./record.ts";

/** The record of an instance that has only its start. */
export function recordOf(start: ExecutionStartedEvent, app: AppName, nowMs: number): InstanceRecord {
  const { name, version, workflowInstance, tags, parentTraceContext, scheduledStartTimestamp } = start;
  const record: InstanceRecord = {
    name,
    status: Status.PENDING,
    executionId: workflowInstance?.executionId ?? "",
    createdMs: nowMs,
    updatedMs: nowMs,
  };
  if (version !== undefined) record.version = version;
  if (Object.keys(tags).length > 0) record.tags = { ...tags };
  if (parentTraceContext !== undefined) record.traceParent = parentTraceContext.traceParent;
  if (scheduledStartTimestamp !== undefined) record.scheduledMs = dueMs(scheduledStartTimestamp, nowMs);
  const parent = parentOf(start, app);
  if (parent !== undefined) record.parent = parent;
  return record;
}

/** Who waits for the end of a child. */
export function parentOf({ parentInstance }: ExecutionStartedEvent, app: AppName): InstanceRecord["parent"] {
  if (parentInstance === undefined) return undefined;
  const { taskScheduledId, name, workflowInstance, appID, appNamespace } = parentInstance;
  return {
    instanceId: workflowInstance?.instanceId ?? "",
    executionId: workflowInstance?.executionId ?? "",
    name: name ?? "",
    taskId: taskScheduledId,
    appId: appID || app.appId,
    namespace: appNamespace || app.namespace,
  };
}
