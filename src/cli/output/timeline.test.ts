import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { HistoryEventSchema, OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";
import { timeline, timelineText } from "./timeline.ts";

type EventType = NonNullable<MessageInitShape<typeof HistoryEventSchema>["eventType"]>;

/** An event a second after the one before it. */
function historyOf(...events: [eventId: number, eventType: EventType][]) {
  return events.map(([eventId, eventType], index) =>
    create(HistoryEventSchema, { eventId, eventType, timestamp: timestampFromMs(index * 1000) }),
  );
}

const never = timestampFromMs(Date.UTC(9999, 11, 31));
const started: [number, EventType] = [-1, { case: "executionStarted", value: { name: "order" } }];
const waitFor = (name: string): EventType => ({
  case: "timerCreated",
  value: { fireAt: never, origin: { case: "externalEvent", value: { name } } },
});

test("a wait has the name of its event and ends with it, one wait for each event", () => {
  const raised: EventType = { case: "eventRaised", value: { name: "Approved", input: "1" } };
  const steps = timeline(
    historyOf(started, [1, waitFor("approved")], [2, waitFor("approved")], [-1, raised], [-1, raised]),
  );
  expect(steps.filter(({ kind }) => kind === "wait")).toEqual([
    { atMs: 1000, id: 1, kind: "wait", name: "approved", state: "done", tookMs: 2000 },
    { atMs: 2000, id: 2, kind: "wait", name: "approved", state: "done", tookMs: 2000 },
  ]);
});

test("a wait that its time ended says so; one that the end of the workflow left open too", () => {
  const steps = timeline(
    historyOf(
      started,
      [1, waitFor("approved")],
      [2, waitFor("paid")],
      [-1, { case: "timerFired", value: { timerId: 1 } }],
      [3, { case: "executionCompleted", value: { workflowStatus: OrchestrationStatus.COMPLETED } }],
    ),
  );
  expect(timelineText(steps)).toEqual([
    ["+0.000s", "", "start", "order", "", "", ""],
    ["+1.000s", "1", "wait", "approved", "", "failed: no event", "2000 ms"],
    ["+2.000s", "2", "wait", "paid", "", "", "left"],
    ["+4.000s", "", "end", "COMPLETED", "", "", ""],
  ]);
});

test("timers say what they are for: a time, a name, the next try of a step", () => {
  const fireAt = timestampFromMs(Date.UTC(2026, 0, 2));
  const steps = timeline(
    historyOf(
      started,
      [1, { case: "timerCreated", value: { fireAt } }],
      [2, { case: "timerCreated", value: { fireAt, name: "patience" } }],
      [3, { case: "timerCreated", value: { fireAt, origin: { case: "activityRetry", value: {} } } }],
      [-1, { case: "timerFired", value: { timerId: 3 } }],
    ),
  );
  expect(steps.slice(1).map(({ kind, name, state }) => [kind, name, state])).toEqual([
    ["timer", "2026-01-02T00:00:00.000Z", "open"],
    ["timer", "patience", "open"],
    ["timer", "next try 2026-01-02T00:00:00.000Z", "done"],
  ]);
});
