import { toBinary } from "@bufbuild/protobuf";
import { type ActivityRequest, ActivityRequestSchema } from "../../wire/orchestrator_service_pb.js";
import type { Mutation } from "../store/store.ts";
import { type AppName, activityTopic, inboxTopic, isSameApp, timerSpace } from "./names.ts";

/**
 * Headers of an inbox message. `x` is absent when the event is for whatever execution runs; `a`, `n`: it is another
 * app's; `h`: a history is handed on with it.
 */
export interface InboxHeaders {
  i: string;
  x?: string;
  a?: string;
  n?: string;
  h?: string;
}

/** Headers of an activity message: instance, execution and task it belongs to, and whose app waits for the result. */
export interface ActivityHeaders {
  i: string;
  x: string;
  t: string;
  e: string;
  a: string;
  n: string;
}

/** An event for an instance; events of one instance are handled in the order they came. */
export function toInbox(app: AppName, instanceId: string, event: Uint8Array, executionId?: string): Mutation {
  const headers: Record<string, string> =
    executionId === undefined ? { i: instanceId } : { i: instanceId, x: executionId };
  return {
    kind: "append",
    topic: inboxTopic(app),
    message: { data: event, orderKey: instanceId, headers },
  };
}

export interface Request {
  from: AppName;
  target: AppName;
  instanceId: string;
  event: Uint8Array;
  notBeforeMs?: number;
  handsOn?: boolean;
}

/** The same on behalf of an app: another one that is asked looks whether it may. */
export function ask({ from, target, instanceId, event, notBeforeMs, handsOn }: Request): Mutation {
  const headers: Record<string, string> = { i: instanceId };
  if (handsOn === true) headers.h = "1";
  if (!isSameApp(from, target)) Object.assign(headers, { a: from.appId, n: from.namespace });
  const message = { data: event, orderKey: instanceId, headers };
  const delayed = notBeforeMs === undefined ? message : { ...message, notBeforeMs };
  return { kind: "append", topic: inboxTopic(target), message: delayed };
}

/** Whose message it is, when it is not the own app's. */
export function callerOf({ a, n }: Record<string, string>): AppName | undefined {
  return a === undefined || n === undefined ? undefined : { appId: a, namespace: n };
}

export interface ActivityCall {
  /** Where it runs. */
  target: AppName;
  /** Who waits for it. */
  parent: AppName;
  executionId: string;
  request: ActivityRequest;
}

export function toActivities({
  target,
  parent,
  executionId,
  request,
}: ActivityCall): Extract<Mutation, { kind: "append" }> {
  const { workflowInstance, taskId, taskExecutionId } = request;
  const headers: Record<string, string> & ActivityHeaders = {
    i: workflowInstance?.instanceId ?? "",
    x: executionId,
    t: String(taskId),
    e: taskExecutionId,
    a: parent.appId,
    n: parent.namespace,
  };
  return {
    kind: "append",
    topic: activityTopic(target),
    message: { data: toBinary(ActivityRequestSchema, request), headers },
  };
}

/** Timers carry the event that they put into the inbox. The execution id is in the name: old ones are recognised. */
export function timerSet(
  app: AppName,
  name: TimerName,
  dueAtMs: number,
  event: Uint8Array = new Uint8Array(0),
): Mutation {
  return { kind: "timerSet", space: timerSpace(app), id: formatTimerName(name), dueAtMs, data: event };
}

export function timerDelete(app: AppName, name: TimerName): Mutation {
  return { kind: "timerDelete", space: timerSpace(app), id: formatTimerName(name) };
}

export interface TimerName {
  instanceId: string;
  executionId: string;
  /** `start` of a scheduled instance, `purge` of a finished one, or the number of a timer of the workflow. */
  purpose: "start" | "purge" | number;
}

function formatTimerName({ instanceId, executionId, purpose }: TimerName): string {
  return `${instanceId}|${executionId}|${purpose}`;
}

/** Instance ids may hold the separator: it is read from the end. */
export function parseTimerName(text: string): TimerName | undefined {
  const match = /^(.*)\|([^|]*)\|(start|purge|-?\d+)$/s.exec(text);
  if (match === null) return undefined;
  const [, instanceId = "", executionId = "", purpose = ""] = match;
  return {
    instanceId,
    executionId,
    purpose: purpose === "start" || purpose === "purge" ? purpose : Number(purpose),
  };
}
