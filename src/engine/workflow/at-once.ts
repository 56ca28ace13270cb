import type { Clock } from "../../edges/clock.ts";
import type { Delivery } from "../store/store.ts";
import type { EncodedEvent } from "./events.ts";
import type { InstanceRecord } from "./record.ts";

/** A result of an activity that ran here, and the message whose end it is. */
export interface FreshResult {
  instanceId: string;
  executionId: string;
  event: EncodedEvent;
  delivery: Delivery;
}

/** A start that a client of this runtime asks for. */
export interface FreshStart {
  instanceId: string;
  event: EncodedEvent;
  record: InstanceRecord;
  /** Of the finished instance whose place it takes; empty when there is none. */
  etag: string;
}

/** Runs turns whose events are stored together with what they lead to; false when nothing was stored. */
export interface FreshTurns {
  /** Called when no other turn of the instance runs here. */
  takeResults(instanceId: string, results: readonly FreshResult[]): Promise<boolean>;
  takeStart(start: FreshStart): Promise<boolean>;
  /** One turn of an instance after the other. */
  alone<T>(instanceId: string, work: () => Promise<T>): Promise<T>;
}

/** A turn that takes longer lets its events be stored without it. */
const patienceMs = 50;

interface Waiting {
  result: FreshResult;
  settle(isStored: boolean): void;
}

/**
 * Saves the commit between an event and the turn it leads to: what has just happened in this runtime goes into the
 * next turn from memory, and is stored with it. The commits keep it right: whoever offers an event and hears in time
 * that it is not stored, stores it by itself, and of the two commits that then name the same message or record only
 * one can be made. Nothing is acknowledged before the commit that holds it.
 */
export class AtOnce {
  readonly #clock: Clock;
  readonly #turns: FreshTurns;
  /** By instance: results that come while a turn runs go into the next one together. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(clock: Clock, turns: FreshTurns) {
    this.#clock = clock;
    this.#turns = turns;
  }

  /** Resolves soon: true when the result is stored and its message ended, false when the caller has to do it. */
  result(result: FreshResult): Promise<boolean> {
    return this.#soon((settle) => {
      const { instanceId } = result;
      const waiting = this.#waiting.get(instanceId);
      if (waiting !== undefined) {
        waiting.push({ result, settle });
        return;
      }
      this.#waiting.set(instanceId, [{ result, settle }]);
      void this.#turns.alone(instanceId, () => this.#takeResults(instanceId));
    });
  }

  /**
   * `soon`: true when the instance is stored and has begun, false when the caller has to store its start. `late`: whether
   * it was stored in the end, however long the turn took.
   */
  start(start: FreshStart): { soon: Promise<boolean>; late: Promise<boolean> } {
    const late = this.#turns.alone(start.instanceId, () => this.#turns.takeStart(start));
    const soon = this.#soon((settle) => void late.then(settle));
    return { soon, late };
  }

  async #takeResults(instanceId: string): Promise<void> {
    const waiting = this.#waiting.get(instanceId) ?? [];
    this.#waiting.delete(instanceId);
    const results = waiting.map(({ result }) => result);
    const isStored = await this.#turns.takeResults(instanceId, results);
    for (const { settle } of waiting) settle(isStored);
  }

  #soon(begin: (settle: (isStored: boolean) => void) => void): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = this.#clock.setTimer(patienceMs, () => resolve(false));
    begin((isStored) => {
      timer.cancel();
      resolve(isStored);
    });
    return promise;
  }
}
