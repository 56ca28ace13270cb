import type { Clock } from "../../src/edges/clock.ts";
import type { Answer, WriteOperation } from "../../src/engine/store/sqlite/batch-codec.ts";
import type { Mutation } from "../../src/engine/store/store.ts";
import { decodeEvent } from "../../src/engine/workflow/events.ts";
import { Fault } from "../../src/errors.ts";

interface Step {
  instanceId: string;
  executionId: string;
  runs: number;
  isRecorded: boolean;
}

export const jobEveryMs = 1_000;

interface Job {
  /** The first of its times. */
  dueMs: number;
  times: number;
  runs: number;
  /** Times whose end is on the disk. */
  recorded: number;
  isOver: boolean;
}

/** Sees what is committed and what runs, and notes what must not be. */
export class Witness {
  readonly faults: string[] = [];
  /** By instance, execution and task. */
  readonly steps = new Map<string, Step>();
  readonly jobs = new Map<string, Job>();
  readonly #leaders = new Map<number, string>();
  readonly #executions = new Map<string, string>();
  readonly #clock: Clock;
  #token = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  saw(operation: WriteOperation, answer: Answer): void {
    if (operation.op !== "commit" || !("value" in answer)) return;
    for (const mutation of operation.mutations) {
      if (mutation.kind === "history") this.#recorded(mutation.instance, mutation.events);
      if (mutation.kind === "timerSet") this.#jobMade(mutation.id);
      if (mutation.kind === "timerDone") this.#jobEnded(mutation);
      if (mutation.kind === "put" && mutation.space === "led") this.#written(mutation.value);
    }
  }

  /** A worker was given a step. Whoever had it before may still be at it. */
  stepHandedOut(instanceId: string, executionId: string, taskId: number): void {
    if (this.#step(instanceId, executionId, taskId).isRecorded)
      this.faults.push(`${instanceId}: step ${taskId} was handed out after its result was recorded`);
  }

  stepRan(instanceId: string, executionId: string, taskId: number): void {
    this.#step(instanceId, executionId, taskId).runs += 1;
  }

  jobRan(name: string): void {
    const job = this.jobs.get(name);
    if (job === undefined) return;
    job.runs += 1;
    if (this.#clock.now() < job.dueMs + job.recorded * jobEveryMs) this.faults.push(`${name} ran early`);
    if (job.isOver) this.faults.push(`${name} ran after its end`);
  }

  led(term: number, leader: string): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== leader)
      this.faults.push(`term ${term} is led by ${other} and ${leader}`);
    this.#leaders.set(term, leader);
  }

  /** What a worker meets: an item that is somebody else's by now is usual, all else is not. */
  blame(error: unknown): void {
    if (error instanceof Fault && error.code === "ERR_WORKFLOW_ITEM_UNKNOWN") return;
    if (error instanceof Fault && error.message.includes("no such")) return;
    this.faults.push(String(error));
  }

  /** Perhaps once more, after its end: by a host that stood still while its client had asked another. */
  #jobMade(name: string): void {
    const job = this.jobs.get(name);
    if (job !== undefined) Object.assign(job, { runs: 0, recorded: 0, isOver: false });
  }

  #jobEnded({ timer, dueAtMs, data }: Extract<Mutation, { kind: "timerDone" }>): void {
    const job = this.jobs.get(timer.id);
    // Given back untried: as it was.
    if (job === undefined || (dueAtMs !== undefined && data === undefined)) return;
    job.recorded += 1;
    job.isOver = dueAtMs === undefined;
  }

  #recorded(name: string, events: readonly Uint8Array[]): void {
    const instanceId = name.slice(name.indexOf("sim:") + 4);
    for (const bytes of events) {
      const { eventType } = decodeEvent(bytes).event;
      if (eventType.case === "executionStarted") {
        this.#executions.set(instanceId, eventType.value.workflowInstance?.executionId ?? "");
      }
      if (eventType.case !== "taskCompleted") continue;
      const { taskScheduledId } = eventType.value;
      const step = this.#step(instanceId, this.#executions.get(instanceId) ?? "", taskScheduledId);
      if (step.isRecorded) this.faults.push(`${instanceId}: step ${taskScheduledId} was recorded twice`);
      if (step.runs === 0)
        this.faults.push(`${instanceId}: step ${taskScheduledId} was recorded and never ran`);
      step.isRecorded = true;
    }
  }

  #written(value: Uint8Array): void {
    const token = Number(Buffer.from(value).toString());
    if (token < this.#token) this.faults.push(`token ${token} wrote after ${this.#token}`);
    this.#token = Math.max(this.#token, token);
  }

  #step(instanceId: string, executionId: string, taskId: number): Step {
    const key = `${instanceId} ${executionId} ${taskId}`;
    const step = this.steps.get(key) ?? { instanceId, executionId, runs: 0, isRecorded: false };
    this.steps.set(key, step);
    return step;
  }
}
