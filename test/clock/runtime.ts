// A runtime of an app on a simulated clock and a real store: its jobs, reminders, schedules and workflow timers.
import { create, fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { SimulatedEdges } from "../../src/edges/simulated.ts";
import { ActorMeter } from "../../src/engine/actors/meter.ts";
import { Reminders } from "../../src/engine/actors/reminders.ts";
import type { JobsEngine } from "../../src/engine/jobs/engine.ts";
import { createJobs, jobsSpace } from "../../src/engine/jobs/jobs.ts";
import { recordedTelemetry } from "../../src/engine/pubsub/fixture-parts.ts";
import { scheduleKey, timersOf } from "../../src/engine/schedules/record.ts";
import { createSchedules, type Schedules } from "../../src/engine/schedules/schedules.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store, Timer } from "../../src/engine/store/store.ts";
import { createWorkflowEngine, type WorkflowEngine } from "../../src/engine/workflow/engine.ts";
import { activityTopic, inboxTopic, timerSpace } from "../../src/engine/workflow/names.ts";
import type { RawWorkItem } from "../../src/engine/workflow/work-item.ts";
import type { ScheduleResource } from "../../src/resource/resource.ts";
import {
  type HistoryEvent,
  OrchestrationStatus,
  WorkflowRequestSchema,
  WorkflowResponseSchema,
} from "../../src/wire/orchestrator_service_pb.js";

/** What came, and the occurrence it was for where the receiver is told. */
export type Came = (name: string, occurrenceMs?: number) => void;

export interface RuntimeOptions {
  folder: string;
  edges: SimulatedEdges;
  schedules?: readonly ScheduleResource[];
  came: Came;
  /** Without them years pass quickly. */
  hasWorkflows?: boolean;
}

const app = { namespace: "", appId: "a" };
export const reminderType = "Cat";

export class Runtime {
  readonly store: Store;
  readonly jobs: JobsEngine;
  readonly reminders: Reminders;
  readonly workflows: WorkflowEngine | undefined;
  readonly #schedules: Schedules;
  readonly #spaces: string[];
  readonly #worker = new AbortController();

  static async open(options: RuntimeOptions): Promise<Runtime> {
    const { folder, edges } = options;
    const runtime = new Runtime(options, await openSqliteStore({ folder, clock: edges.clock }));
    await runtime.#start();
    return runtime;
  }

  private constructor(options: RuntimeOptions, store: Store) {
    const { edges, came, schedules = [], hasWorkflows = true } = options;
    const { clock } = edges;
    const telemetry = recordedTelemetry();
    const shared = { store, clock, telemetry, log: telemetry.log, owner: edges.random.uuid() };
    this.store = store;
    this.jobs = createJobs({
      ...shared,
      principal: app,
      channel: undefined,
      appMaxConcurrency: -1,
      target: {
        async trigger({ name }) {
          came(name);
          return { kind: "done" };
        },
      },
    });
    this.reminders = new Reminders({
      ...shared,
      cluster: "c",
      meter: new ActorMeter(telemetry.metrics, app.appId),
      async remind({ name }) {
        came(name);
        return "done";
      },
    });
    this.#schedules = createSchedules({
      ...shared,
      principal: app,
      declared: () => schedules,
      leaseTimes: () => undefined,
      async send(_, { source, timeMs }) {
        came(source.slice("schedule/".length), timeMs);
        return { kind: "done" };
      },
    });
    this.workflows = hasWorkflows
      ? createWorkflowEngine({
          ...shared,
          app,
          edges,
          messageBytesMax: 4_000_000,
          limits: () => ({}),
          access: () => undefined,
        })
      : undefined;
    this.#spaces = [
      jobsSpace(app.namespace, app.appId),
      `reminders:c:${reminderType}`,
      timerSpace(app),
      ...schedules.map(({ name }) => timersOf(scheduleKey(app.namespace, name))),
    ];
    if (this.workflows !== undefined) this.#connect(this.workflows, came);
  }

  async remind(name: string, dueTime: string, period = ""): Promise<void> {
    const reminder = { type: reminderType, id: "tom", name, dueTime, period, ttl: "", data: undefined };
    await this.reminders.set(reminder, true, undefined);
  }

  /** A workflow that waits until a moment and ends. */
  async sleepUntil(name: string, atMs: number): Promise<void> {
    await this.workflows?.instances.start(
      { instanceId: name, name: "sleep", input: String(atMs) },
      this.#worker.signal,
    );
  }

  /** The timers that wait; `undefined` while something that is due or in hand is not done. */
  async idleTimers(nowMs: number): Promise<Timer[] | undefined> {
    const lists = await Promise.all(
      this.#spaces.map((space) => this.store.listTimers(space, { limit: 1000 })),
    );
    const timers = lists.flat();
    if (timers.some(({ claim, dueAtMs }) => claim !== 0 || dueAtMs <= nowMs)) return undefined;
    const topics = [inboxTopic(app), activityTopic(app)];
    const stats = (await this.store.topicStats()).filter(({ topic }) => topics.includes(topic));
    const isBusy = stats.some(({ groups }) => groups.some(({ pending, inFlight }) => pending + inFlight > 0));
    return isBusy ? undefined : timers;
  }

  async close(): Promise<void> {
    this.#worker.abort();
    await Promise.all([
      this.jobs.close(),
      this.reminders.close(),
      this.#schedules.close(),
      this.workflows?.close(),
    ]);
    await this.store.close();
  }

  async #start(): Promise<void> {
    await this.#schedules.reload();
    this.jobs.start();
    this.#schedules.start();
    this.workflows?.start();
    await this.reminders.host([reminderType]);
  }

  #connect(engine: WorkflowEngine, came: Came): void {
    const send = async (item: RawWorkItem): Promise<void> => {
      const data = item.$unknown[0]?.data as Uint8Array;
      const request = fromBinary(WorkflowRequestSchema, new BinaryReader(data).bytes());
      const { instanceId } = request;
      const { completionToken } = item;
      const actions = sleepTurn([...request.pastEvents, ...request.newEvents], () => came(instanceId));
      const response = create(WorkflowResponseSchema, { instanceId, completionToken, actions });
      setImmediate(() => engine.completeWorkflow(response));
    };
    void engine.serve({ send, itemsMax: 100 }, this.#worker.signal);
  }
}

function sleepTurn(events: HistoryEvent[], woke: () => void) {
  if (events.some(({ eventType }) => eventType.case === "timerFired")) {
    woke();
    const value = { workflowStatus: OrchestrationStatus.COMPLETED };
    return [{ id: 2, workflowActionType: { case: "completeWorkflow" as const, value } }];
  }
  if (events.some(({ eventType }) => eventType.case === "timerCreated")) return [];
  const started = events.find(({ eventType }) => eventType.case === "executionStarted")?.eventType;
  const atMs = Number(started?.case === "executionStarted" ? started.value.input : Number.NaN);
  const value = { fireAt: timestampFromMs(atMs) };
  return [{ id: 1, workflowActionType: { case: "createTimer" as const, value } }];
}
