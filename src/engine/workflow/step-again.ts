import { create } from "@bufbuild/protobuf";
import { ActivityRequestSchema, type HistoryEvent } from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { dueMs, makeEvent } from "./events.ts";
import { ask, timerSet, toActivities } from "./messages.ts";
import type { AppName } from "./names.ts";

export interface StepOwner {
  app: AppName;
  instanceId: string;
  executionId: string;
  /** Of the workflow. */
  name: string;
  nowMs: number;
  newId(): string;
}

/** What has to leave an instance so that a step of its history is done again. */
export function stepAgain({ eventId, eventType, router }: HistoryEvent, owner: StepOwner): Mutation[] {
  const { app, instanceId, executionId, nowMs } = owner;
  const target = {
    appId: router?.targetAppID ?? app.appId,
    namespace: router?.targetAppNamespace ?? app.namespace,
  };
  if (eventType.case === "taskScheduled") {
    const { name, version, input, taskExecutionId } = eventType.value;
    const request = create(ActivityRequestSchema, {
      name,
      ...(version === undefined ? {} : { version }),
      ...(input === undefined ? {} : { input }),
      workflowInstance: { instanceId, executionId },
      taskId: eventId,
      taskExecutionId,
    });
    return [toActivities({ target, parent: app, executionId, request })];
  }
  if (eventType.case === "timerCreated") {
    const { fireAt } = eventType.value;
    const at = dueMs(fireAt, nowMs);
    const value = { timerId: eventId, ...(fireAt === undefined ? {} : { fireAt }) };
    const fired = makeEvent(Math.max(at, nowMs), { case: "timerFired", value });
    return [timerSet(app, { instanceId, executionId, purpose: eventId }, at, fired.bytes)];
  }
  if (eventType.case !== "childWorkflowInstanceCreated") return [];
  return [childAgain(eventId, eventType.value, target, owner)];
}

interface Child {
  instanceId: string;
  name: string;
  version?: string;
  input?: string;
}

function childAgain(eventId: number, child: Child, target: AppName, owner: StepOwner): Mutation {
  const { app, instanceId, executionId, name, nowMs, newId } = owner;
  const { version, input } = child;
  const start = makeEvent(nowMs, {
    case: "executionStarted",
    value: {
      name: child.name,
      ...(version === undefined ? {} : { version }),
      ...(input === undefined ? {} : { input }),
      workflowInstance: { instanceId: child.instanceId, executionId: newId() },
      parentInstance: {
        taskScheduledId: eventId,
        name,
        workflowInstance: { instanceId, executionId },
        appID: app.appId,
        appNamespace: app.namespace,
      },
    },
  });
  return ask({ from: app, target, instanceId: child.instanceId, event: start.bytes });
}
