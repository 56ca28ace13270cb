import type { HistoryEvent } from "../../wire/orchestrator_service_pb.js";

/** Something the workflow began and whose end is not in its history yet. */
export type OpenStep =
  | { kind: "activity"; name: string }
  | { kind: "timer" }
  | { kind: "child"; instanceId: string; appId: string | undefined; namespace: string | undefined };

/** What the engine has to know of a history, kept up event by event. */
export class Facts {
  isStarted = false;
  isCompleted = false;
  isSuspended = false;
  /** Patches recorded so far, in order. */
  patches: string[] = [];
  /** By the id of the event that began them. */
  open = new Map<number, OpenStep>();

  fork(): Facts {
    const copy = new Facts();
    copy.isStarted = this.isStarted;
    copy.isCompleted = this.isCompleted;
    copy.isSuspended = this.isSuspended;
    copy.patches = [...this.patches];
    copy.open = new Map(this.open);
    return copy;
  }

  /** Whether the event says something new: second starts and second results do not. */
  accepts({ eventType }: HistoryEvent): boolean {
    switch (eventType.case) {
      case "executionStarted":
        return !this.isStarted;
      case "taskCompleted":
      case "taskFailed":
        return this.open.get(eventType.value.taskScheduledId)?.kind === "activity";
      case "childWorkflowInstanceCompleted":
      case "childWorkflowInstanceFailed":
        return this.open.get(eventType.value.taskScheduledId)?.kind === "child";
      case "timerFired":
        return this.open.get(eventType.value.timerId)?.kind === "timer";
      case "executionCompleted":
      case undefined:
        return false;
      default:
        return true;
    }
  }

  note(event: HistoryEvent): void {
    const { eventId, eventType, router } = event;
    switch (eventType.case) {
      case "workflowStarted":
        this.patches.push(...(eventType.value.version?.patches ?? []));
        break;
      case "executionStarted":
        this.isStarted = true;
        break;
      case "executionCompleted":
        this.isCompleted = true;
        break;
      case "executionSuspended":
        this.isSuspended = true;
        break;
      case "executionResumed":
        this.isSuspended = false;
        break;
      case "taskScheduled":
        this.open.set(eventId, { kind: "activity", name: eventType.value.name });
        break;
      case "timerCreated":
        this.open.set(eventId, { kind: "timer" });
        break;
      case "childWorkflowInstanceCreated": {
        const { instanceId } = eventType.value;
        const appId = router?.targetAppID;
        this.open.set(eventId, { kind: "child", instanceId, appId, namespace: router?.targetAppNamespace });
        break;
      }
      case "taskCompleted":
      case "taskFailed":
      case "childWorkflowInstanceCompleted":
      case "childWorkflowInstanceFailed":
        this.open.delete(eventType.value.taskScheduledId);
        break;
      case "timerFired":
        this.open.delete(eventType.value.timerId);
        break;
      default:
    }
  }
}
