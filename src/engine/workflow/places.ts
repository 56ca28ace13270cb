import type { EngineParts, WorkflowLimits } from "./engine-parts.ts";
import { limitSpace } from "./names.ts";
import { SharedLimit } from "./shared-limit.ts";
import { WorkerLost } from "./workers.ts";

export type Work = "workflow" | "activity";

type PlacesParts = Pick<EngineParts, "app" | "store" | "edges" | "telemetry" | "limits">;

/** Jobs at once when the Configuration does not say. */
const jobsMaxDefault = 1000;
/** What finds too many waiting already comes back after a while, one after the other. */
const crowdedRetryMs = 500;
const crowdedSpacingMs = 2;

/** The limits that turns and activities keep to: of this runtime, of all runtimes together, and by name. */
export class Places {
  readonly #parts: PlacesParts;
  readonly #owner: string;
  readonly #limits = new Map<string, SharedLimit>();
  readonly #nextRetryMs = { workflow: 0, activity: 0 };
  readonly #waiting = { workflow: 0, activity: 0 };

  constructor(parts: PlacesParts) {
    this.#parts = parts;
    this.#owner = parts.edges.random.uuid();
  }

  /** Jobs that this runtime has in hand at once. */
  jobsMax(work: Work): number {
    const { workflowsMax, activitiesMax } = this.#parts.limits();
    return (work === "workflow" ? workflowsMax : activitiesMax) ?? jobsMaxDefault;
  }

  /** Does it when there is a place. Rejects with `WorkerLost` when too many wait, or the last worker leaves. */
  run<T>(work: Work, name: string, job: () => Promise<T>): Promise<T> {
    const limits = this.#limitsOf(work, name);
    return limits.length === 0 ? job() : this.#runWithin(work, limits, job);
  }

  /** The limits of the Configuration changed. */
  changed(): void {
    for (const limit of this.#limits.values()) limit.update();
  }

  abandon(): void {
    for (const limit of this.#limits.values()) limit.abandon();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#limits.values()].map((limit) => limit.close()));
  }

  async #runWithin<T>(work: Work, limits: SharedLimit[], job: () => Promise<T>): Promise<T> {
    // Who waits has a place among the jobs of this runtime: half of them are for others.
    if (this.#waiting[work] >= Math.max(1, this.jobsMax(work) >> 1)) throw this.#crowded(work);
    const taken: SharedLimit[] = [];
    try {
      this.#waiting[work] += 1;
      try {
        for (const limit of limits) {
          await limit.take();
          taken.push(limit);
        }
      } finally {
        this.#waiting[work] -= 1;
      }
      return await job();
    } finally {
      for (const limit of taken) limit.release();
    }
  }

  #crowded(work: Work): WorkerLost {
    const nowMs = this.#parts.edges.clock.now();
    const atMs = Math.max(nowMs + crowdedRetryMs, this.#nextRetryMs[work] + crowdedSpacingMs);
    this.#nextRetryMs[work] = atMs;
    return new WorkerLost("too many wait for a place", atMs - nowMs);
  }

  #limitsOf(work: Work, name: string): SharedLimit[] {
    const limits = this.#parts.limits();
    const found: SharedLimit[] = [];
    // The narrower one first: who waits for it keeps nobody else from the wide one.
    if (namedMax(limits, work, name) !== undefined) {
      found.push(this.#limit(`${work}/${name}`, () => namedMax(this.#parts.limits(), work, name)));
    }
    if (sharedMax(limits, work) !== undefined) {
      found.push(this.#limit(work, () => sharedMax(this.#parts.limits(), work)));
    }
    return found;
  }

  #limit(key: string, max: () => number | undefined): SharedLimit {
    let limit = this.#limits.get(key);
    if (limit === undefined) {
      const space = limitSpace(this.#parts.app);
      limit = new SharedLimit({ parts: this.#parts, space, key, owner: this.#owner, max });
      this.#limits.set(key, limit);
    }
    return limit;
  }
}

function sharedMax({ sharedWorkflowsMax, sharedActivitiesMax }: WorkflowLimits, work: Work) {
  return work === "workflow" ? sharedWorkflowsMax : sharedActivitiesMax;
}

function namedMax({ workflowMax, activityMax }: WorkflowLimits, work: Work, name: string) {
  return (work === "workflow" ? workflowMax : activityMax)?.get(name);
}
