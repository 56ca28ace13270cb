import type { Job } from "./engine.ts";

/** What an app made of a trigger. */
export type TriggerOutcome =
  | { kind: "done" }
  /** The app knows no such job: it is deleted. */
  | { kind: "unknown" }
  | { kind: "failed"; reason: string }
  /** Nothing reached the app. */
  | { kind: "away"; reason: string };

/** How an app is told that a job is due. */
export interface JobTarget {
  trigger(job: Job, signal: AbortSignal): Promise<TriggerOutcome>;
}
