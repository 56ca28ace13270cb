import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Edges } from "../../src/edges/edges.ts";
import type { Random } from "../../src/edges/random.ts";
import { simulatedEdges } from "../../src/edges/simulated.ts";
import { createJobs } from "../../src/engine/jobs/jobs.ts";
import { Candidate } from "../../src/engine/leases/candidate.ts";
import type { Answer, WriteOperation } from "../../src/engine/store/sqlite/batch-codec.ts";
import { createWorkflowEngine, type WorkflowEngine } from "../../src/engine/workflow/engine.ts";
import { recordSpace } from "../../src/engine/workflow/names.ts";
import { decodeRecord, type InstanceRecord } from "../../src/engine/workflow/record.ts";
import {
  type ActivityRequest,
  ActivityResponseSchema,
  WorkflowResponseSchema,
  WorkItemSchema,
} from "../../src/wire/orchestrator_service_pb.js";
import { type Birth, Cluster, quietTelemetry } from "./cluster.ts";
import { between, type SimulatedHost } from "./host.ts";
import { actionsOf } from "./programs.ts";
import type { SimulatedStore } from "./store.ts";
import { Witness } from "./witness.ts";

export const app = { namespace: "default", appId: "sim" };
export const leader = "leader";
const leaseTimes = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 500 };

/** A host with everything that runs on it. */
export interface Machine {
  host: SimulatedHost;
  store: SimulatedStore;
  workflows: WorkflowEngine;
  jobs: ReturnType<typeof createJobs>;
  /** Ends its worker's connection; it comes again soon. */
  dropWorker(): void;
}

/** Hosts with the whole engine on them. */
export class World extends Cluster<Machine> {
  readonly witness = new Witness(this.clock);
  /** The records of workflows that have ended. */
  readonly ended = new Map<string, InstanceRecord>();

  /** What the disk says of a workflow. */
  record(instanceId: string): InstanceRecord | undefined {
    const entry = this.disk.reads.get(recordSpace(app), instanceId, this.clock.now());
    return entry && decodeRecord(entry.value);
  }

  protected override saw(operation: WriteOperation, answer: Answer): void {
    this.witness.saw(operation, answer);
  }

  protected override boot({ host, store, random }: Birth): Machine {
    const edges: Edges = { ...simulatedEdges(0), clock: host.clock, random };
    const telemetry = quietTelemetry();
    const workflows = createWorkflowEngine({
      ...{ app, store: store.store, edges, telemetry, messageBytesMax: 4 << 20 },
      limits: () => ({}),
      access: () => undefined,
    });
    workflows.start();
    const jobs = createJobs({
      ...{ principal: app, channel: undefined, store: store.store, clock: host.clock, telemetry },
      ...{ appMaxConcurrency: -1, owner: host.name },
      target: {
        trigger: (job) =>
          new Promise((resolve) => {
            this.witness.jobRan(job.name);
            host.clock.setTimer(between(random, 0, 30), () => resolve({ kind: "done" }));
          }),
      },
    });
    jobs.start();
    const machine: Machine = { host, store, workflows, jobs, dropWorker: () => undefined };
    this.#connectWorker(machine, random);
    this.#campaign(machine, random);
    return machine;
  }

  #connectWorker(machine: Machine, random: Random): void {
    const { host, workflows } = machine;
    const leaving = new AbortController();
    const worker = new SimulatedWorker(machine, random, this.witness, leaving.signal);
    const again = () =>
      void host.clock.setTimer(between(this.random, 10, 1_000), () => this.#connectWorker(machine, random));
    workflows.serve({ itemsMax: 8, send: (item) => worker.take(item) }, leaving.signal).then(again, again);
    machine.dropWorker = () => {
      this.disturbances += 1;
      leaving.abort();
    };
  }

  /** Whoever leads writes under its token, again and again. */
  #campaign({ host, store }: Machine, random: Random): void {
    const candidate = new Candidate({
      ...{
        store: store.store,
        clock: host.clock,
        random,
        name: leader,
        leader: host.name,
        times: leaseTimes,
      },
      onEvent: (event) => {
        if (event.kind === "leading") this.witness.led(event.term, event.leader);
      },
      onError: () => undefined,
    });
    candidate.start();
    const write = (): void => {
      host.clock.setTimer(200, write);
      const held = candidate.leadership;
      if (held === undefined) return;
      const value = Buffer.from(String(held.fencingToken));
      store.store
        .commit([
          { kind: "guard", lease: leader, token: held.fencingToken },
          { kind: "put", space: "led", key: "work", value },
        ])
        .catch(() => undefined);
    };
    write();
  }
}

/** A worker process on a host, as the SDKs' are: it takes time, and what it was given is gone with its connection. */
class SimulatedWorker {
  readonly #host: SimulatedHost;
  readonly #engine: WorkflowEngine;
  readonly #random: Pick<Random, "next">;
  readonly #witness: Witness;
  readonly #signal: AbortSignal;

  constructor(
    machine: Pick<Machine, "host" | "workflows">,
    random: Random,
    witness: Witness,
    signal: AbortSignal,
  ) {
    this.#host = machine.host;
    this.#engine = machine.workflows;
    this.#random = random;
    this.#witness = witness;
    this.#signal = signal;
  }

  take(item: object): Promise<void> {
    const bytes = toBinary(WorkItemSchema, Object.assign(create(WorkItemSchema), item));
    const { request, completionToken } = fromBinary(WorkItemSchema, bytes);
    if (request.case === "activityRequest") {
      const { workflowInstance, taskId } = request.value;
      const { instanceId = "", executionId = "" } = workflowInstance ?? {};
      this.#witness.stepHandedOut(instanceId, executionId, taskId);
    }
    const thinkMs = this.#random.next() < 0.05 ? this.#random.next() * 300 : this.#random.next() * 8;
    this.#host.clock.setTimer(thinkMs, () => {
      if (this.#signal.aborted) return;
      if (request.case === "workflowRequest") this.#turn(request.value, completionToken);
      else if (request.case === "activityRequest") this.#activity(request.value, completionToken);
    });
    return Promise.resolve();
  }

  #turn(request: Parameters<typeof actionsOf>[0], completionToken: string): void {
    const { instanceId } = request;
    try {
      const actions = actionsOf(request, this.#host.clock.now());
      this.#engine.completeWorkflow(create(WorkflowResponseSchema, { instanceId, completionToken, actions }));
    } catch (error) {
      this.#witness.blame(error);
    }
  }

  #activity({ workflowInstance, taskId, name }: ActivityRequest, completionToken: string): void {
    const instanceId = workflowInstance?.instanceId ?? "";
    this.#witness.stepRan(instanceId, workflowInstance?.executionId ?? "", taskId);
    try {
      const result = `${name} ${taskId}`;
      this.#engine.completeActivity(
        create(ActivityResponseSchema, { instanceId, taskId, completionToken, result }),
      );
    } catch (error) {
      this.#witness.blame(error);
    }
  }
}
