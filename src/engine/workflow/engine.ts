import type { Edges } from "../../edges/edges.ts";
import { errors } from "../../errors.ts";
import type { WorkflowAccess } from "../../policy/workflow-access.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { ActivityResponse, WorkflowResponse } from "../../wire/orchestrator_service_pb.js";
import type { Store } from "../store/store.ts";
import { ActivityRunner } from "./activity-runner.ts";
import { AtOnce } from "./at-once.ts";
import { Changes } from "./changes.ts";
import { ClaimLoop } from "./claim-loop.ts";
import { Commits } from "./commits.ts";
import { ComponentHome } from "./component-home.ts";
import { EngineHome } from "./engine-home.ts";
import type { ActivityPolicy, EngineParts, WorkflowLimits } from "./engine-parts.ts";
import { Gate, type WorkflowAuthorization } from "./gate.ts";
import type { InstanceStore } from "./instance-store.ts";
import { Instances } from "./instances.ts";
import { WorkflowMeters } from "./meters.ts";
import { type AppName, activityTopic, inboxTopic } from "./names.ts";
import { Places } from "./places.ts";
import { type PurgeRequest, purge, purgeByTimer } from "./purge.ts";
import { type RerunRequest, rerun } from "./rerun.ts";
import { WorkflowSpans } from "./spans.ts";
import { Stalls } from "./stalls.ts";
import type { StartGuardOf } from "./start-guard.ts";
import { TimerPump } from "./timer-pump.ts";
import { type WorkerStream, Workers } from "./workers.ts";
import { WorkflowRunner } from "./workflow-runner.ts";

export interface WorkflowEngineOptions {
  app: AppName;
  store: Store;
  edges: Edges;
  telemetry: Telemetry;
  messageBytesMax: number;
  limits(): WorkflowLimits;
  /** What other apps may do here; `undefined`: everything. Asked anew each time. */
  access(): WorkflowAccess | undefined;
  /** The same by mecha's own policies; absent: everything. */
  authorize?: WorkflowAuthorization | undefined;
  /** A state store of the user's that is to keep the instances; absent: the engine's own does. */
  instanceStore?: InstanceStore | undefined;
  activityPolicy?: ActivityPolicy | undefined;
  /** Absent: each start is one of its own. */
  guardOf?: StartGuardOf | undefined;
}

/** Durable execution for one app: its instances in the store, its work for the workers connected here. */
export interface WorkflowEngine {
  readonly instances: Instances;
  readonly connectedWorkers: number;
  /** A worker's stream. Resolves when `signal` aborts or the engine closes. */
  serve(worker: WorkerStream, signal: AbortSignal): Promise<void>;
  completeWorkflow(response: WorkflowResponse): void;
  completeActivity(response: ActivityResponse): void;
  purge(request: PurgeRequest): Promise<number>;
  rerun(request: RerunRequest): Promise<void>;
  /** Fires timers; nothing is read before. */
  start(): void;
  /** The limits of the Configuration changed. */
  limitsChanged(): void;
  close(): Promise<void>;
}

export function createWorkflowEngine(options: WorkflowEngineOptions): WorkflowEngine {
  return new Engine(options);
}

class Engine implements WorkflowEngine {
  readonly instances: Instances;
  readonly #parts: EngineParts;
  readonly #workflows: WorkflowRunner;
  readonly #activities: ActivityRunner;
  readonly #pump: TimerPump;
  readonly #closing = new AbortController();
  #loops: ClaimLoop[] = [];
  /** Loops start and stop one after the other. */
  #turning: Promise<void> = Promise.resolve();

  constructor(options: WorkflowEngineOptions) {
    const { app, store, edges, telemetry, messageBytesMax, limits, instanceStore: instances } = options;
    const workers = new Workers(edges.clock);
    const meters = new WorkflowMeters(telemetry.metrics, app);
    const commits = new Commits(store);
    // With two stores there are commits that nobody is told of.
    const isTold = (): boolean => instances === undefined && commits.pending > 0;
    const changes = new Changes(store, edges.clock, app, isTold);
    const places = new Places({ app, store, edges, telemetry, limits });
    const home =
      instances === undefined
        ? new EngineHome({ store, app, commits })
        : new ComponentHome({ store, app, commits, edges, log: telemetry.log, instances });
    this.#parts = {
      app,
      store,
      edges,
      telemetry,
      commits,
      home,
      changes,
      workers,
      places,
      gate: new Gate(app, telemetry, options),
      guardOf: options.guardOf,
      activityPolicy: options.activityPolicy,
      stalls: new Stalls(edges.clock, workers),
      meters,
      spans: new WorkflowSpans(telemetry.tracer),
      messageBytesMax,
      limits,
    };
    this.instances = new Instances(this.#parts, this.#closing.signal);
    this.#workflows = new WorkflowRunner(this.#parts);
    if (instances === undefined) this.#parts.atOnce = new AtOnce(edges.clock, this.#workflows);
    this.#activities = new ActivityRunner(this.#parts);
    this.#pump = new TimerPump({
      parts: this.#parts,
      purge: async (name, data) => {
        await purgeByTimer(this.#parts, name, data).catch((error) => {
          telemetry.log.debug({ error, ...name }, "a finished workflow was not purged");
        });
      },
    });
    workers.onChange(() => this.#adapt());
  }

  get connectedWorkers(): number {
    return this.#parts.workers.count;
  }

  start(): void {
    this.#pump.start();
  }

  async serve(worker: WorkerStream, signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    if (ended.aborted) return;
    const { commits, app, workers, telemetry, home } = this.#parts;
    home.open?.();
    await commits.ensureGroup(inboxTopic(app));
    await commits.ensureGroup(activityTopic(app));
    if (ended.aborted) return;
    const disconnect = workers.connect(worker);
    telemetry.log.info({}, `workflow worker connected, ${workers.count} in all`);
    await new Promise<void>((resolve) => ended.addEventListener("abort", () => resolve(), { once: true }));
    disconnect();
    telemetry.log.info({}, `workflow worker disconnected, ${workers.count} left`);
  }

  completeWorkflow(response: WorkflowResponse): void {
    if (!this.#parts.workers.completeWorkflow(response)) {
      throw errors.WORKFLOW_ITEM_UNKNOWN(`no such workflow item: ${response.instanceId}`);
    }
  }

  completeActivity(response: ActivityResponse): void {
    if (this.#parts.workers.completeActivity(response)) return;
    const { instanceId, taskId } = response;
    throw errors.WORKFLOW_ITEM_UNKNOWN(`no such activity item: ${instanceId}, ${taskId}`);
  }

  purge(request: PurgeRequest): Promise<number> {
    return purge(this.#parts, request);
  }

  rerun(request: RerunRequest): Promise<void> {
    return rerun(this.#parts, request);
  }

  limitsChanged(): void {
    this.#parts.places.changed();
    for (const loop of this.#loops) loop.lookAgain();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#turning;
    await Promise.all(this.#loops.map((loop) => loop.close()));
    await this.#parts.places.close();
    await this.#pump.close();
    await this.#parts.home.close?.();
    this.#parts.changes.close();
  }

  /** Work is claimed while there is a worker for it. */
  #adapt(): void {
    if (this.#parts.workers.count === 0) this.#parts.places.abandon();
    this.#turning = this.#turning.then(async () => {
      const isWanted = this.#parts.workers.count > 0 && !this.#closing.signal.aborted;
      if (isWanted === this.#loops.length > 0) return;
      const before = this.#loops;
      this.#loops = isWanted ? this.#startLoops() : [];
      await Promise.all(before.map((loop) => loop.close()));
    });
  }

  #startLoops(): ClaimLoop[] {
    const { app, store, edges, telemetry, places } = this.#parts;
    const shared = { store, edges, log: telemetry.log };
    const loops = [
      new ClaimLoop({
        ...shared,
        topic: inboxTopic(app),
        jobsMax: () => places.jobsMax("workflow"),
        jobOf: ({ headers }) => headers.i ?? "",
        handle: (deliveries) => this.#workflows.handle(deliveries),
      }),
      new ClaimLoop({
        ...shared,
        topic: activityTopic(app),
        jobsMax: () => places.jobsMax("activity"),
        jobOf: ({ offset }) => String(offset),
        handle: (deliveries) => this.#activities.handle(deliveries),
      }),
    ];
    for (const loop of loops) loop.start();
    return loops;
  }
}
