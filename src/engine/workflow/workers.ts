import type { Clock } from "../../edges/clock.ts";
import type { ActivityResponse, WorkflowResponse } from "../../wire/orchestrator_service_pb.js";
import { HeldHistories } from "./held-histories.ts";
import { type RawWorkItem, type WorkflowTurn, workflowItem } from "./work-item.ts";

/** What was lost goes to the next worker soon, but a stream that fails at once must not be tried without a pause. */
const lostRetryMs = 50;

/** The worker that had the item is gone, or did not take it: somebody else may. */
export class WorkerLost extends Error {
  readonly retryMs: number;
  constructor(why: string, retryMs = lostRetryMs) {
    super(why);
    this.name = "WorkerLost";
    this.retryMs = retryMs;
  }
}

export type SendItem = (item: RawWorkItem) => Promise<void>;

export interface WorkerStream {
  send: SendItem;
  /** Items that the worker takes at once; more wait here. */
  itemsMax: number;
  /** The worker keeps histories from turn to turn: it needs only what is new. */
  keepsHistories?: boolean;
}

interface Stream extends WorkerStream {
  pending: Set<Pending<never>>;
  held?: HeldHistories;
}

/** What is to be done for a key; made when it is known who does it. */
interface Job {
  key: string;
  itemFor(stream: Stream): RawWorkItem;
  /** An instance's worker of the last turn is asked again while it has room. */
  instanceId?: string;
  onSent?(): void;
}

interface Pending<R> {
  key: string;
  token: string;
  resolve(response: R): void;
  reject(error: Error): void;
}

/** A worker that does not read for so long has lost its item. */
const sendTimeoutMs = 10_000;

/** The worker streams of one app on this runtime, and the items that they work on. */
export class Workers {
  readonly #clock: Clock;
  readonly #streams = new Set<Stream>();
  readonly #workflows = new Map<string, Pending<WorkflowResponse>>();
  readonly #activities = new Map<string, Pending<ActivityResponse>>();
  /** Items that wait for a place at a worker. */
  readonly #waiting: (() => void)[] = [];
  readonly #listeners: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** Called after a worker came or went. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Returns the function that ends the stream; its items are lost to it then. */
  connect(worker: WorkerStream): () => void {
    const stream: Stream = { ...worker, pending: new Set() };
    if (worker.keepsHistories === true) stream.held = new HeldHistories();
    this.#streams.add(stream);
    this.#startWaiting();
    this.#changed();
    return () => {
      if (!this.#streams.delete(stream)) return;
      for (const pending of stream.pending) pending.reject(new WorkerLost("the worker disconnected"));
      this.#startWaiting();
      this.#changed();
    };
  }

  /** One item of an instance at a time. */
  async runWorkflow(turn: WorkflowTurn): Promise<WorkflowResponse> {
    const { instance } = turn;
    let held: HeldHistories | undefined;
    const response = await this.#run(this.#workflows, {
      key: instance.id,
      instanceId: instance.id,
      itemFor(stream) {
        held = stream.held;
        return workflowItem(turn, held?.countOf(instance) ?? 0);
      },
    });
    held?.answered(instance, response);
    return response;
  }

  /** The next turn of the instance may be anybody's. */
  forget(instanceId: string): void {
    for (const { held } of this.#streams) held?.forget(instanceId);
  }

  /** `onSent`: the worker has it. */
  runActivity(key: string, item: RawWorkItem, onSent: () => void): Promise<ActivityResponse> {
    return this.#run(this.#activities, { key, itemFor: () => item, onSent });
  }

  /** False when nobody waits for it: the item was given to somebody else, or done. */
  completeWorkflow(response: WorkflowResponse): boolean {
    return complete(this.#workflows, response.instanceId, response);
  }

  completeActivity(response: ActivityResponse): boolean {
    return complete(this.#activities, activityKey(response), response);
  }

  async #run<R>(items: Map<string, Pending<R>>, job: Job): Promise<R> {
    let stream = this.#choose(job);
    while (stream !== undefined && stream.pending.size >= stream.itemsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      stream = this.#choose(job);
    }
    if (stream === undefined) throw new WorkerLost("no worker is connected");
    return this.#give(stream, items, job);
  }

  #give<R>(stream: Stream, items: Map<string, Pending<R>>, { key, itemFor, onSent }: Job): Promise<R> {
    const item = itemFor(stream);
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const pending: Pending<R> = { key, token: item.completionToken, resolve, reject };
    items.set(key, pending);
    stream.pending.add(pending);
    const timer = this.#clock.setTimer(sendTimeoutMs, () =>
      reject(new WorkerLost("the worker does not read")),
    );
    stream.send(item).then(
      () => {
        timer.cancel();
        onSent?.();
      },
      (error) => reject(new WorkerLost(`the item could not be sent: ${(error as Error).message}`)),
    );
    return promise.finally(() => {
      timer.cancel();
      stream.pending.delete(pending);
      if (items.get(key) === pending) items.delete(key);
      this.#waiting.shift()?.();
    });
  }

  /** Everybody looks again: places may have come, or all workers may have gone. */
  #startWaiting(): void {
    for (const start of this.#waiting.splice(0)) start();
  }

  #choose({ instanceId }: Job): Stream | undefined {
    if (instanceId !== undefined && this.#streams.size > 1) {
      for (const stream of this.#streams)
        if (stream.held?.has(instanceId) === true && roomOf(stream) > 0) return stream;
    }
    return this.#leastBusy();
  }

  #leastBusy(): Stream | undefined {
    let best: Stream | undefined;
    for (const stream of this.#streams)
      if (best === undefined || roomOf(stream) > roomOf(best)) best = stream;
    // The next of equals has its turn.
    if (best !== undefined && this.#streams.size > 1) {
      this.#streams.delete(best);
      this.#streams.add(best);
    }
    return best;
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

function roomOf({ itemsMax, pending }: Stream): number {
  return itemsMax - pending.size;
}

/** Workers answer with instance and task; the token, where they send it, tells two executions apart. */
export function activityKey({ instanceId, taskId }: { instanceId: string; taskId: number }): string {
  return `${instanceId}\0${taskId}`;
}

function complete<R extends { completionToken: string }>(
  items: Map<string, Pending<R>>,
  key: string,
  response: R,
): boolean {
  const pending = items.get(key);
  if (pending === undefined) return false;
  if (response.completionToken !== "" && response.completionToken !== pending.token) return false;
  pending.resolve(response);
  return true;
}
