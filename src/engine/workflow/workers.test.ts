import { expect, test } from "bun:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { SimulatedClock } from "../../edges/simulated.ts";
import {
  OrchestrationStatus as Status,
  WorkflowRequestSchema,
  WorkflowResponseSchema,
} from "../../wire/orchestrator_service_pb.js";
import { makeEvent } from "./events.ts";
import { bytesOf, factsOf, type Instance } from "./instance.ts";
import { Workers } from "./workers.ts";

const event = (atMs: number) => makeEvent(atMs, { case: "workflowStarted", value: {} });

function instanceOf(atMs: number[], executionId = "x"): Instance {
  const history = atMs.map((each) => event(each).bytes);
  const record = { name: "w", status: Status.RUNNING, executionId, createdMs: 0, updatedMs: 0 };
  return { id: "i", record, etag: "1", history, facts: factsOf(history), bytes: bytesOf(history) };
}

const complete = { id: 1, workflowActionType: { case: "completeWorkflow" as const, value: {} } };

/** Turns of the instance `i`, each answered with `actions`; what each worker was sent. */
class Bench {
  readonly workers = new Workers(new SimulatedClock());
  readonly sent: [worker: string, held: number, past: number][] = [];
  #items = 0;

  connect(name: string, keepsHistories: boolean): () => void {
    return this.workers.connect({
      itemsMax: 10,
      keepsHistories,
      send: async ({ $unknown: [request] }) => {
        const { cachedHistory, pastEvents } = fromBinary(WorkflowRequestSchema, inner(request?.data));
        this.sent.push([name, cachedHistory?.eventCount ?? 0, pastEvents.length]);
      },
    });
  }

  async turn(instance: Instance, actions = [] as (typeof complete)[]): Promise<void> {
    const completionToken = String(this.#items++);
    const answer = this.workers.runWorkflow({ instance, newEvents: [event(99)], completionToken });
    expect(this.workers.completeWorkflow(create(WorkflowResponseSchema, { instanceId: "i", actions }))).toBe(
      true,
    );
    await answer;
  }
}

/** A length stands before the message. */
function inner(data: Uint8Array = new Uint8Array()): Uint8Array {
  let start = 0;
  while (((data[start++] ?? 0) & 0x80) !== 0);
  return data.subarray(start);
}

test("a worker that keeps histories is sent what is new since its last turn", async () => {
  const bench = new Bench();
  bench.connect("keeps", true);
  await bench.turn(instanceOf([]));
  await bench.turn(instanceOf([1, 2]));
  await bench.turn(instanceOf([1, 2, 3]));
  await bench.turn(instanceOf([1, 2, 3, 4]), [complete]);
  await bench.turn(instanceOf([1, 2, 3, 4]));
  expect(bench.sent.map(([, ...counts]) => counts)).toEqual([
    [0, 0],
    [0, 2],
    [2, 1],
    [3, 1],
    [0, 4],
  ]);
});

test("a history that is another one, or that the worker may have lost, is sent whole", async () => {
  const bench = new Bench();
  const disconnect = bench.connect("keeps", true);
  await bench.turn(instanceOf([1, 2]));
  await bench.turn(instanceOf([1, 2, 3], "y"));
  await bench.turn(instanceOf([1, 5, 6], "y"));
  bench.workers.forget("i");
  await bench.turn(instanceOf([1, 5, 6, 7], "y"));
  disconnect();
  bench.connect("keeps", true);
  await bench.turn(instanceOf([1, 5, 6, 7, 8], "y"));
  expect(bench.sent.map(([, held]) => held)).toEqual([0, 0, 0, 0, 0]);
});

test("an instance stays with the worker that keeps its history, and workers that keep none are sent all", async () => {
  const bench = new Bench();
  bench.connect("plain", false);
  bench.connect("keeps", true);
  const turns = Array.from({ length: 6 }, (_, index) => Array.from({ length: index + 1 }, (_, n) => n));
  for (const atMs of turns) await bench.turn(instanceOf(atMs));
  const firstKept = bench.sent.findIndex(([name]) => name === "keeps");
  expect(bench.sent.slice(firstKept + 1).every(([name, held]) => name === "keeps" && held > 0)).toBe(true);
  expect(bench.sent.slice(0, firstKept).every(([, held]) => held === 0)).toBe(true);
  expect(firstKept).toBeLessThan(2);
});
