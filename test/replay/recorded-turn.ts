// A decided turn as a line of JSON: all that `decide` was given, and what it made of it.
import { fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import type { Mutation } from "../../src/engine/store/store.ts";
import { decodeEvent, type EncodedEvent } from "../../src/engine/workflow/events.ts";
import { factsOf, type Instance } from "../../src/engine/workflow/instance.ts";
import type { InstanceRecord } from "../../src/engine/workflow/record.ts";
import { type Decision, decide, Stalled, type TurnRequest } from "../../src/engine/workflow/turn.ts";
import {
  type HistoryEvent,
  HistoryEventSchema,
  PropagatedHistorySchema,
  type WorkflowResponse,
  WorkflowResponseSchema,
} from "../../src/wire/orchestrator_service_pb.js";

/** Messages of the wire are kept as the bytes they were, in base64. */
export interface RecordedTurn {
  given: {
    app: TurnRequest["app"];
    id: string;
    record: InstanceRecord;
    history: string[];
    newEvents: string[];
    response: string;
    received?: string;
    activityBytesMax?: number;
    nowMs: number;
    newIds: string[];
  };
  decided: RecordedDecision;
}

export type RecordedDecision =
  | { stalled: string }
  | {
      events: string[];
      record: InstanceRecord;
      mutations: unknown[];
      restart?: string[];
      handed?: string;
    };

/** Decides the turn and gives its record to `keep`. */
export function decideRecorded(request: TurnRequest, keep: (turn: RecordedTurn) => void): Decision {
  const newIds: string[] = [];
  const newId = () => {
    const id = request.newId();
    newIds.push(id);
    return id;
  };
  const { app, instance, newEvents, response, received, activityBytesMax, nowMs } = request;
  const given: RecordedTurn["given"] = {
    app: { namespace: app.namespace, appId: app.appId },
    id: instance.id,
    record: structuredClone(instance.record),
    history: instance.history.map(toText),
    newEvents: newEvents.map(({ bytes }) => toText(bytes)),
    response: toText(toBinary(WorkflowResponseSchema, response)),
    ...(received && { received: toText(toBinary(PropagatedHistorySchema, received)) }),
    ...(activityBytesMax !== undefined && { activityBytesMax }),
    nowMs,
    newIds,
  };
  try {
    const decision = decide({ ...request, newId });
    keep({ given, decided: recordOf(decision) });
    return decision;
  } catch (error) {
    if (error instanceof Stalled) keep({ given, decided: { stalled: error.message } });
    throw error;
  }
}

/** What the engine decides on the recorded turn today. */
export function decideAgain({ given }: Pick<RecordedTurn, "given">): RecordedDecision {
  const { app, id, record, nowMs, newIds, received, activityBytesMax } = given;
  const history = given.history.map(fromText);
  const newEvents = given.newEvents.map((text) => decodeEvent(fromText(text)));
  const facts = factsOf(history);
  for (const { event } of newEvents) facts.note(event);
  const instance: Instance = {
    id,
    record: structuredClone(record),
    etag: "1",
    history,
    facts: factsOf(history),
    bytes: 0,
  };
  const ids = newIds.values();
  try {
    return recordOf(
      decide({
        app,
        instance,
        facts,
        newEvents,
        response: responseOf({ given }),
        received:
          received === undefined ? undefined : fromBinary(PropagatedHistorySchema, fromText(received)),
        ...(activityBytesMax !== undefined && { activityBytesMax }),
        nowMs,
        newId: () => ids.next().value ?? "one id too many",
      }),
    );
  } catch (error) {
    if (error instanceof Stalled) return { stalled: error.message };
    throw error;
  }
}

export function responseOf({ given }: Pick<RecordedTurn, "given">): WorkflowResponse {
  return fromBinary(WorkflowResponseSchema, fromText(given.response));
}

/** All that are new in the turn. */
export function eventsOf({ given, decided }: RecordedTurn): HistoryEvent[] {
  const added = "stalled" in decided ? [] : decided.events;
  return [...given.newEvents, ...added].map((text) => decodeEvent(fromText(text)).event);
}

/** The same with its events to be read, for a difference that says what it is. */
export function legible(decision: RecordedDecision): unknown {
  if ("stalled" in decision) return decision;
  const { events, restart, ...rest } = decision;
  return { ...rest, events: events.map(eventJson), restart: restart?.map(eventJson) };
}

function recordOf({ events, record, mutations, restart, handed }: Decision): RecordedDecision {
  return {
    events: events.map(eventText),
    record: structuredClone(record),
    mutations: mutations.map(mutationText),
    ...(restart && { restart: restart.map(eventText) }),
    ...(handed && { handed: toText(toBinary(PropagatedHistorySchema, handed)) }),
  };
}

function mutationText(mutation: Mutation): unknown {
  return JSON.parse(
    JSON.stringify(mutation, (_, value) => (value instanceof Uint8Array ? toText(value) : value)),
  );
}

const eventText = ({ bytes }: EncodedEvent) => toText(bytes);
const eventJson = (text: string) => toJson(HistoryEventSchema, decodeEvent(fromText(text)).event);

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function fromText(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
