import type { WorkflowResponse } from "../../wire/orchestrator_service_pb.js";
import type { Instance } from "./instance.ts";

/** Instances of which is known what a worker has; of more than these it gets the whole history. */
const heldMax = 10_000;

interface Held {
  executionId: string;
  count: number;
  /** Of the last event: a history that was set back and went on in another way is another one. */
  lastHash: number | bigint;
}

/** How much of which histories one worker keeps from turn to turn. It asks for a history that it has lost after all. */
export class HeldHistories {
  readonly #held = new Map<string, Held>();

  has(instanceId: string): boolean {
    return this.#held.has(instanceId);
  }

  /** So many events of the instance's history, from its beginning, the worker has. */
  countOf({ id, record, history }: Pick<Instance, "id" | "record" | "history">): number {
    const held = this.#held.get(id);
    if (held === undefined || held.executionId !== record.executionId) return 0;
    const last = history[held.count - 1];
    return last !== undefined && Bun.hash(last) === held.lastHash ? held.count : 0;
  }

  /** The worker keeps the history that it was given, unless its answer ends the execution. */
  answered({ id, record, history }: Instance, { actions }: WorkflowResponse): void {
    this.forget(id);
    const last = history.at(-1);
    if (last === undefined || actions.some((each) => each.workflowActionType.case === "completeWorkflow"))
      return;
    this.#held.set(id, {
      executionId: record.executionId,
      count: history.length,
      lastHash: Bun.hash(last),
    });
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= heldMax) return;
      this.forget(oldest);
    }
  }

  forget(instanceId: string): void {
    this.#held.delete(instanceId);
  }
}
