import { describe, expect, test } from "bun:test";
import { simulatedEdges } from "../../edges/simulated.ts";
import type { Delivery } from "../store/store.ts";
import { AtOnce, type FreshResult, type FreshTurns } from "./at-once.ts";
import { makeEvent } from "./events.ts";

function result(instanceId: string, taskId: number): FreshResult {
  const event = makeEvent(0, { case: "taskCompleted", value: { taskScheduledId: taskId } });
  const delivery = { topic: "a", group: "w", offset: taskId, claim: 1 } as Delivery;
  return { instanceId, executionId: "x", event, delivery };
}

/** Turns that end when the test says so. */
class HeldTurns implements FreshTurns {
  readonly taken: number[][] = [];
  readonly ends: ((isStored: boolean) => void)[] = [];
  #running = Promise.resolve();

  takeResults(_: string, results: readonly FreshResult[]): Promise<boolean> {
    this.taken.push(results.map(({ delivery }) => delivery.offset));
    return new Promise((resolve) => this.ends.push(resolve));
  }

  takeStart(): Promise<boolean> {
    return new Promise((resolve) => this.ends.push(resolve));
  }

  alone<T>(_: string, work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work);
    this.#running = done.then(() => undefined);
    return done;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("AtOnce", () => {
  test("result() is true when the turn has stored it", async () => {
    const turns = new HeldTurns();
    const stored = new AtOnce(simulatedEdges(1).clock, turns).result(result("i", 1));
    await settled();
    turns.ends.shift()?.(true);
    expect(await stored).toBe(true);
  });

  test("result() gathers what comes while a turn runs for the next one", async () => {
    const turns = new HeldTurns();
    const atOnce = new AtOnce(simulatedEdges(1).clock, turns);
    const first = atOnce.result(result("i", 1));
    await settled();
    const rest = [atOnce.result(result("i", 2)), atOnce.result(result("i", 3))];
    await settled();
    turns.ends.shift()?.(true);
    await settled();
    turns.ends.shift()?.(true);
    expect(await Promise.all([first, ...rest])).toEqual([true, true, true]);
    expect(turns.taken).toEqual([[1], [2, 3]]);
  });

  test("result() and start() are false when the turn takes its time, whatever comes of it later", async () => {
    const turns = new HeldTurns();
    const { clock } = simulatedEdges(1);
    const atOnce = new AtOnce(clock, turns);
    const { event } = result("i", 1);
    const record = { name: "w", status: 0, executionId: "x", createdMs: 0, updatedMs: 0 };
    const { soon: started, late } = atOnce.start({ instanceId: "i", event, record, etag: "" });
    const stored = atOnce.result(result("i", 1));
    await settled();
    clock.advance(49);
    await settled();
    expect(await Promise.race([stored, "undecided"])).toBe("undecided");
    clock.advance(2);
    expect(await Promise.all([started, stored])).toEqual([false, false]);
    turns.ends.shift()?.(true);
    expect(await late).toBe(true);
  });
});
