import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type HistoryEvent,
  HistoryEventSchema,
  type TaskFailureDetails,
  type TaskFailureDetailsSchema,
  type TaskRouter,
} from "../../wire/orchestrator_service_pb.js";
import type { FailureRecord } from "./record.ts";

/** An event and its encoded form, which is what is kept and sent on: history is never encoded twice. */
export interface EncodedEvent {
  event: HistoryEvent;
  bytes: Uint8Array;
}

type EventType = NonNullable<MessageInitShape<typeof HistoryEventSchema>["eventType"]>;

/** Events that are no action of the workflow have the id -1. */
const noId = -1;

export function makeEvent(
  nowMs: number,
  eventType: EventType,
  options: { eventId?: number; router?: TaskRouter | undefined } = {},
): EncodedEvent {
  const { eventId = noId, router } = options;
  const init = { eventId, timestamp: timestampFromMs(nowMs), eventType };
  const event = create(HistoryEventSchema, router === undefined ? init : { ...init, router });
  return { event, bytes: toBinary(HistoryEventSchema, event) };
}

export function encodeEvent(event: HistoryEvent): EncodedEvent {
  return { event, bytes: toBinary(HistoryEventSchema, event) };
}

export function decodeEvent(bytes: Uint8Array): EncodedEvent {
  return { event: fromBinary(HistoryEventSchema, bytes), bytes };
}

/** When something is due; absent and broken times are now. */
export function dueMs(timestamp: Timestamp | undefined, nowMs: number): number {
  if (timestamp === undefined) return nowMs;
  const ms = timestampMs(timestamp);
  return Number.isFinite(ms) ? ms : nowMs;
}

export function failureRecord(details: TaskFailureDetails): FailureRecord {
  const { errorType, errorMessage, stackTrace, isNonRetriable, innerFailure } = details;
  const record: FailureRecord = { errorType, errorMessage };
  if (stackTrace !== undefined) record.stackTrace = stackTrace;
  if (isNonRetriable) record.isNonRetriable = true;
  if (innerFailure !== undefined) record.inner = failureRecord(innerFailure);
  return record;
}

export function failureDetails(record: FailureRecord): MessageInitShape<typeof TaskFailureDetailsSchema> {
  const { errorType, errorMessage, stackTrace, isNonRetriable, inner } = record;
  return {
    errorType,
    errorMessage,
    ...(stackTrace === undefined ? {} : { stackTrace }),
    isNonRetriable: isNonRetriable === true,
    ...(inner === undefined ? {} : { innerFailure: failureDetails(inner) }),
  };
}
