import type { FailurePolicy } from "./plan.ts";
import type { AnyData } from "./record.ts";

/** A job as its app knows it: the texts as they were given. */
export interface Job {
  name: string;
  schedule?: string | undefined;
  dueTime?: string | undefined;
  repeats?: number | undefined;
  ttl?: string | undefined;
  failurePolicy?: FailurePolicy | undefined;
  data?: AnyData | undefined;
}

/** A job and how far it is. */
export interface JobStatus extends Job {
  /** When it is delivered next: its time, or that of another try. */
  dueAtMs: number;
  /** Times that are over. */
  fired: number;
  /** Failed deliveries of the time that is due. */
  failures: number;
}

/** The jobs of one app. Throws Faults of the JOB_* rows. */
export interface JobsEngine {
  schedule(job: Job, options: { overwrite: boolean }): Promise<void>;
  get(name: string): Promise<Job>;
  list(): Promise<Job[]>;
  /** Some of them, by name. */
  page(options: { prefix: string; after?: string | undefined; limit: number }): Promise<JobStatus[]>;
  delete(name: string): Promise<void>;
  deleteByPrefix(prefix: string): Promise<void>;
  /** Begins to trigger; the app is reachable. */
  start(): void;
  /** No more triggers (app unhealthy, drain): those under way finish. */
  pause(): Promise<void>;
  close(): Promise<void>;
}
