// The replay gate: turns recorded from the SDKs are decided again, and have to come out as they did.
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { HistoryEvent, WorkflowAction } from "../../src/wire/orchestrator_service_pb.js";
import { decideAgain, eventsOf, legible, type RecordedTurn, responseOf } from "./recorded-turn.ts";
import { fixtures, readTurns, writeTurns } from "./recording.ts";

const files = readdirSync(fixtures).filter((name) => name.endsWith(".jsonl"));
/** `npm test -- replay --accept`: what is decided today is right from now on. */
const accepts = process.env.MECHA_TEST_ACCEPT !== undefined;

for (const name of files) {
  const file = join(fixtures, name);
  const turns = readTurns(file);
  describe(name, () => {
    test(`${turns.length} turns are decided as they were`, () => {
      const changed = turns.map((turn) => ({ ...turn, decided: decideAgain(turn) }));
      if (accepts) return writeTurns(file, changed);
      for (const [index, turn] of turns.entries()) expectEqual(turn, changed[index] as RecordedTurn, index);
    });
  });
}

test("the recordings hold every kind of action, event and end", () => {
  const turns = files.flatMap((name) => readTurns(join(fixtures, name)));
  const actions = new Set(
    turns
      .flatMap((turn) => responseOf(turn).actions)
      .map(({ workflowActionType }) => workflowActionType.case),
  );
  const events = new Set(turns.flatMap(eventsOf).map(({ eventType }) => eventType.case));
  const wantedActions: WorkflowAction["workflowActionType"]["case"][] = [
    "scheduleTask",
    "createTimer",
    "createChildWorkflow",
    "completeWorkflow",
  ];
  const wantedEvents: HistoryEvent["eventType"]["case"][] = [
    "executionStarted",
    "executionCompleted",
    "executionTerminated",
    "executionSuspended",
    "executionResumed",
    "taskScheduled",
    "taskCompleted",
    "taskFailed",
    "timerCreated",
    "timerFired",
    "childWorkflowInstanceCreated",
    "childWorkflowInstanceCompleted",
    "childWorkflowInstanceFailed",
    "eventRaised",
  ];
  expect(wantedActions.filter((kind) => !actions.has(kind))).toEqual([]);
  expect(wantedEvents.filter((kind) => !events.has(kind))).toEqual([]);
  const decisions = turns.map(({ decided }) => decided);
  const kinds = {
    restarted: decisions.some((decided) => "restart" in decided),
    handedOn: turns.some(({ given }) => given.received !== undefined),
    patched: turns.some((turn) => (responseOf(turn).version?.patches.length ?? 0) > 0),
    stalled: decisions.some((decided) => "stalled" in decided),
  };
  expect(kinds).toEqual({ restarted: true, handedOn: true, patched: true, stalled: true });
});

function expectEqual(was: RecordedTurn, is: RecordedTurn, index: number): void {
  const place = { turn: index + 1, instance: was.given.id };
  expect({ ...place, decided: legible(is.decided) }).toEqual({ ...place, decided: legible(was.decided) });
  expect({ ...place, ...is.decided }).toEqual({ ...place, ...was.decided });
}
