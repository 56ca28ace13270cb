import { create } from "@bufbuild/protobuf";
import {
  ActivityRequestSchema,
  type HistoryEvent,
  type PropagatedHistory,
  HistoryPropagationScope as Scope,
} from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { dueMs, makeEvent } from "./events.ts";
import { ask, timerSet, toActivities } from "./messages.ts";
import type { AppName } from "./names.ts";
import { handOn, keepPropagated, propagatedKey } from "./propagation.ts";

export interface StepOwner {
  app: AppName;
  instanceId: string;
  executionId: string;
  /** Of the workflow. */
  name: string;
  /** For steps that are handed it. */
  history: Uint8Array[];
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
    const { name, version, input, taskExecutionId, historyPropagationScope } = eventType.value;
    const propagatedHistory = handedBy(owner, historyPropagationScope);
    const request = create(ActivityRequestSchema, {
      name,
      ...(version === undefined ? {} : { version }),
      ...(input === undefined ? {} : { input }),
      workflowInstance: { instanceId, executionId },
      taskId: eventId,
      taskExecutionId,
      ...(propagatedHistory === undefined ? {} : { propagatedHistory }),
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
  return childAgain(eventId, eventType.value, target, owner);
}

function handedBy(owner: StepOwner, scope: Scope | undefined): PropagatedHistory | undefined {
  if (scope === undefined || scope === Scope.NONE) return undefined;
  return handOn({ ...owner, scope, received: undefined, events: owner.history });
}

interface Child {
  instanceId: string;
  name: string;
  version?: string;
  input?: string;
  historyPropagationScope?: Scope;
}

function childAgain(eventId: number, child: Child, target: AppName, owner: StepOwner): Mutation[] {
  const { app, instanceId, executionId, name, nowMs, newId } = owner;
  const { version, input, historyPropagationScope } = child;
  const childExecutionId = newId();
  const start = makeEvent(nowMs, {
    case: "executionStarted",
    value: {
      name: child.name,
      ...(version === undefined ? {} : { version }),
      ...(input === undefined ? {} : { input }),
      workflowInstance: { instanceId: child.instanceId, executionId: childExecutionId },
      parentInstance: {
        taskScheduledId: eventId,
        name,
        workflowInstance: { instanceId, executionId },
        appID: app.appId,
        appNamespace: app.namespace,
      },
    },
  });
  const handed = handedBy(owner, historyPropagationScope);
  const key = propagatedKey(child.instanceId, childExecutionId);
  const request = { from: app, target, instanceId: child.instanceId, event: start.bytes };
  return [
    ...(handed === undefined ? [] : [keepPropagated(target, key, handed)]),
    ask({ ...request, handsOn: handed !== undefined }),
  ];
}
