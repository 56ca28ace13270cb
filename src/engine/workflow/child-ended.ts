import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { failureDetails, makeEvent } from "./events.ts";
import { toInbox } from "./messages.ts";
import type { InstanceRecord } from "./record.ts";

/** What the parent of an ended instance is told; nothing when there is none. */
export function childEnded(record: InstanceRecord, nowMs: number): Mutation[] {
  const { parent, status, output, failure } = record;
  if (parent === undefined) return [];
  const { taskId: taskScheduledId } = parent;
  const stopped = { errorType: Status[status] ?? "FAILED", errorMessage: output ?? "" };
  const result = output === undefined ? {} : { result: output };
  const { bytes } =
    status === Status.COMPLETED
      ? makeEvent(nowMs, { case: "childWorkflowInstanceCompleted", value: { taskScheduledId, ...result } })
      : makeEvent(nowMs, {
          case: "childWorkflowInstanceFailed",
          value: { taskScheduledId, failureDetails: failureDetails(failure ?? stopped) },
        });
  return [toInbox(parent, parent.instanceId, bytes, parent.executionId)];
}
