import type { AppChannel } from "../../app/channel.ts";
import { type Clock, sleep } from "../../edges/clock.ts";
import { Code, errors } from "../../errors.ts";
import type { Counter, Histogram, Log, Telemetry } from "../../telemetry/telemetry.ts";
import { type Mutation, type Store, StoreConflict, type Timer } from "../store/store.ts";
import { planOf } from "./check-job.ts";
import { againAt, DueTimers, over } from "./due-timers.ts";
import type { Job, JobStatus, JobsEngine } from "./engine.ts";
import { GrpcJobTarget } from "./grpc-target.ts";
import { HttpJobTarget } from "./http-target.ts";
import { advance, begin, isExpired, type Plan, type Progress, retry } from "./plan.ts";
import { decodeRecord, encodeRecord } from "./record.ts";
import type { JobTarget, TriggerOutcome } from "./target.ts";

export interface JobsOptions {
  principal: { namespace: string; appId: string };
  /** `undefined`: the app has no port, its jobs wait. */
  channel: AppChannel | undefined;
  store: Store;
  clock: Clock;
  telemetry: Telemetry;
  /** app-max-concurrency; -1: none. */
  appMaxConcurrency: number;
  /** Who claims: this process. */
  owner: string;
  /** Tests put another app in. */
  target?: JobTarget;
}

/** A handler may take this long; the claim of its job outlives it. */
const triggerTimeoutMs = 600_000;
const leaseMs = triggerTimeoutMs + 30_000;
const atOnceMax = 1024;
/** How long a pause waits for jobs in the app's hands. */
const pauseGraceMs = 5000;
const pageSize = 1000;

export function createJobs(options: JobsOptions): JobsEngine {
  return new AppJobs(options);
}

/** As a job is stored: its texts, its plan, how far it is. */
interface Stored extends Omit<Job, "data"> {
  plan: Plan;
  progress: Progress;
}

class AppJobs implements JobsEngine {
  readonly #options: JobsOptions;
  readonly #space: string;
  readonly #log: Log;
  readonly #timers: DueTimers;
  readonly #target: JobTarget | undefined;
  readonly #meter: JobMeter;
  readonly #closing = new AbortController();

  constructor(options: JobsOptions) {
    const { principal, store, clock, telemetry, owner, appMaxConcurrency } = options;
    this.#options = options;
    this.#space = jobsSpace(principal.namespace, principal.appId);
    this.#log = telemetry.log.scope("dapr.runtime.scheduler");
    this.#target = options.target ?? targetOf(options.channel);
    this.#meter = new JobMeter(telemetry, principal);
    this.#timers = new DueTimers({
      store,
      clock,
      space: this.#space,
      owner,
      leaseMs,
      // A claimed job that waits for a place in the app would be late for nothing: another runtime may have one.
      atOnceMax: appMaxConcurrency > 0 ? Math.min(appMaxConcurrency, atOnceMax) : atOnceMax,
      handle: (timer) => this.#fire(timer),
      onError: (error) => {
        if (!this.#closing.signal.aborted) this.#log.warn({ error }, "a job could not be run");
      },
    });
  }

  async schedule(job: Job, { overwrite }: { overwrite: boolean }): Promise<void> {
    const startedMs = performance.now();
    const plan = planOf(job, this.#options.clock.now());
    const progress = begin(plan) as Progress;
    const { data, ...fields } = job;
    const bytes = encodeRecord({ ...fields, plan, progress }, data);
    const mutation: Mutation = {
      kind: "timerSet",
      space: this.#space,
      id: job.name,
      dueAtMs: progress.dueAtMs,
      data: bytes,
      ifAbsent: !overwrite,
    };
    try {
      await this.#options.store.commit([mutation]);
      this.#meter.record("schedule", true, performance.now() - startedMs);
    } catch (error) {
      this.#meter.record("schedule", false, performance.now() - startedMs);
      if (error instanceof StoreConflict) throw alreadyExists(job.name);
      throw errors.JOB_SCHEDULE((error as Error).message, { cause: error });
    }
  }

  async get(name: string): Promise<Job> {
    if (name === "") throw errors.JOB_NAME_EMPTY();
    const timer = await this.#measured("get", errors.JOB_GET, (store) => store.getTimer(this.#space, name));
    const job = timer && this.#jobOf(timer);
    if (job === undefined) throw errors.JOB_GET(`rpc error: code = NotFound desc = job not found: ${name}`);
    return job;
  }

  async list(): Promise<Job[]> {
    const jobs: Job[] = [];
    await this.#measured("list", errors.JOB_LIST, async (store) => {
      for await (const page of pages(store, this.#space, "")) {
        for (const timer of page) {
          const job = this.#jobOf(timer);
          if (job !== undefined) jobs.push(job);
        }
      }
    });
    return jobs;
  }

  async page({ prefix, after, limit }: Parameters<JobsEngine["page"]>[0]): Promise<JobStatus[]> {
    const options = { prefix, limit, ...(after !== undefined && { after }) };
    const timers = await this.#measured("list", errors.JOB_LIST, (store) =>
      store.listTimers(this.#space, options),
    );
    return timers.map((timer) => {
      const { fields, data } = decodeRecord<Stored>(timer.data);
      const { plan: _plan, progress, ...job } = fields;
      const { fired, failures } = progress;
      return { ...job, data, dueAtMs: timer.dueAtMs, fired, failures };
    });
  }

  async delete(name: string): Promise<void> {
    if (name === "") throw errors.JOB_NAME_EMPTY();
    const mutation: Mutation = { kind: "timerDelete", space: this.#space, id: name };
    await this.#measured("delete", errors.JOB_DELETE, (store) => store.commit([mutation]));
  }

  async deleteByPrefix(prefix: string): Promise<void> {
    await this.#measured("delete_by_prefix", errors.JOB_DELETE, async (store) => {
      for await (const page of pages(store, this.#space, prefix)) {
        await store.commit(page.map(({ id }): Mutation => ({ kind: "timerDelete", space: this.#space, id })));
      }
    });
  }

  start(): void {
    if (this.#target === undefined || this.#closing.signal.aborted) return;
    this.#timers.start();
  }

  async pause(): Promise<void> {
    const grace = new AbortController();
    const patience = sleep(
      this.#options.clock,
      pauseGraceMs,
      AbortSignal.any([grace.signal, this.#closing.signal]),
    );
    await Promise.race([this.#timers.stop(), patience]);
    grace.abort();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#timers.stop();
  }

  #jobOf(timer: Timer): Job | undefined {
    const { fields, data } = decodeRecord<Stored>(timer.data);
    const { plan, progress: _progress, ...job } = fields;
    return isExpired(plan, this.#options.clock.now()) ? undefined : { ...job, data };
  }

  async #fire(timer: Timer): Promise<void> {
    const { clock } = this.#options;
    const { fields, data } = decodeRecord<Stored>(timer.data);
    const { plan, progress, ...job } = fields;
    if (isExpired(plan, clock.now())) return this.#finish(timer, undefined);
    const startedMs = performance.now();
    const outcome = await (this.#target as JobTarget).trigger({ ...job, data }, this.#closing.signal);
    const isDone = outcome.kind === "done" || outcome.kind === "unknown";
    if (outcome.kind !== "away") this.#meter.record("trigger", isDone, performance.now() - startedMs);
    this.#note(job.name, outcome);
    // Given back untried: this runtime is closing, or the app is not there.
    const isUntried = outcome.kind === "away" || (!isDone && this.#closing.signal.aborted);
    if (isUntried) return this.#giveBack(timer, outcome);
    this.#timers.recovered();
    if (outcome.kind === "unknown") return this.#finish(timer, undefined);
    const move = outcome.kind === "done" ? advance : retry;
    const next = move(plan, progress, clock.now());
    return this.#finish(timer, next && { ...fields, progress: next }, data);
  }

  /** Other runtimes of the app may do it at once; this one looks again after a while. */
  async #giveBack(timer: Timer, outcome: TriggerOutcome): Promise<void> {
    if (this.#timers.rest() && outcome.kind === "away") {
      this.#log.warn({}, `the app can not be reached, its jobs wait: ${outcome.reason}`);
    }
    await this.#timers.end(againAt(timer, timer.dueAtMs));
  }

  async #finish(timer: Timer, next?: Stored, data?: Job["data"]): Promise<void> {
    await this.#timers.end(
      next === undefined ? over(timer) : againAt(timer, next.progress.dueAtMs, encodeRecord(next, data)),
    );
  }

  #note(name: string, outcome: TriggerOutcome): void {
    if (outcome.kind === "unknown") {
      this.#log.warn({}, `the app knows no job '${name}' (404): it is dropped`);
    } else if (outcome.kind === "failed") {
      this.#log.warn({}, `job '${name}' failed: ${outcome.reason}`);
    }
  }

  async #measured<T>(
    operation: string,
    fault: (why: string, options: { cause: unknown }) => Error,
    work: (store: Store) => Promise<T>,
  ): Promise<T> {
    const startedMs = performance.now();
    try {
      const result = await work(this.#options.store);
      this.#meter.record(operation, true, performance.now() - startedMs);
      return result;
    } catch (error) {
      this.#meter.record(operation, false, performance.now() - startedMs);
      throw fault((error as Error).message, { cause: error });
    }
  }
}

/** Names are unique per app: each has a space of its own. */
export function jobsSpace(namespace: string, appId: string): string {
  return `jobs:${encodeURIComponent(namespace || "default")}:${encodeURIComponent(appId)}`;
}

function alreadyExists(name: string): Error {
  return errors.JOB_SCHEDULE(`rpc error: code = AlreadyExists desc = job already exists: '${name}'`, {
    http: 409,
    grpc: Code.AlreadyExists,
  });
}

function targetOf(channel: AppChannel | undefined): JobTarget | undefined {
  if (channel === undefined) return undefined;
  if (channel.grpc === undefined) return new HttpJobTarget(channel, triggerTimeoutMs);
  return new GrpcJobTarget(channel, channel.grpc, triggerTimeoutMs);
}

async function* pages(store: Store, space: string, prefix: string): AsyncGenerator<Timer[]> {
  let after: string | undefined;
  while (true) {
    const page = await store.listTimers(space, {
      prefix,
      limit: pageSize,
      ...(after !== undefined && { after }),
    });
    if (page.length > 0) yield page;
    if (page.length < pageSize) return;
    after = page.at(-1)?.id;
  }
}

/** component_job_* of dapr-api.md §16.1. */
class JobMeter {
  readonly #telemetry: Telemetry;
  readonly #labels: { app_id: string; namespace: string };
  readonly #cells = new Map<string, { count: Counter; latencies: Histogram }>();

  constructor(telemetry: Telemetry, { appId, namespace }: { appId: string; namespace: string }) {
    this.#telemetry = telemetry;
    this.#labels = { app_id: appId, namespace };
  }

  record(operation: string, isSuccess: boolean, elapsedMs: number): void {
    const key = `${operation}/${isSuccess}`;
    let cells = this.#cells.get(key);
    if (cells === undefined) {
      const { metrics } = this.#telemetry;
      const labels = { ...this.#labels, operation };
      const count = metrics.counter(`component_job_${isSuccess ? "success" : "failure"}_count`, labels);
      cells = { count, latencies: metrics.histogram("component_job_latencies", labels) };
      this.#cells.set(key, cells);
    }
    cells.count.add();
    cells.latencies.record(elapsedMs);
  }
}
