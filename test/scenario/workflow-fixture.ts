import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createGrpcClient, type GrpcClient, type GrpcDuplex } from "../../src/net/grpc/index.ts";
import {
  type ActivityRequest,
  ActivityResponseSchema,
  GetWorkItemsRequestSchema,
  type HistoryEvent,
  OrchestrationStatus,
  type WorkflowActionSchema,
  type WorkflowRequest,
  WorkflowResponseSchema,
  type WorkflowVersionSchema,
  WorkItemSchema,
} from "../../src/wire/orchestrator_service_pb.js";

export type Action = MessageInitShape<typeof WorkflowActionSchema>;

export interface Turn {
  actions: Action[];
  version?: MessageInitShape<typeof WorkflowVersionSchema>;
}

export interface Script {
  /** What the workflow does with its whole history; `undefined`: no answer. */
  workflow(events: HistoryEvent[], request: WorkflowRequest): Turn | Action[] | undefined;
  activity?(request: ActivityRequest): string | undefined | Promise<string | undefined>;
}

const service = "/TaskHubSidecarService";

/** A worker whose answers a test writes by hand, message by message. */
export class ScriptedWorker {
  readonly requests: WorkflowRequest[] = [];
  readonly activities: ActivityRequest[] = [];
  readonly #client: GrpcClient;
  readonly #stream: GrpcDuplex;
  readonly #script: Script;

  constructor(grpcPort: number, script: Script) {
    this.#client = createGrpcClient({ host: "127.0.0.1", port: grpcPort });
    this.#stream = this.#client.stream(`${service}/GetWorkItems`);
    this.#script = script;
    void this.#serve();
  }

  /** The worker leaves: its stream is reset. */
  leave(): void {
    this.#stream.cancel();
  }

  close(): void {
    this.#client.close();
  }

  async #serve(): Promise<void> {
    await this.#stream.send(toBinary(GetWorkItemsRequestSchema, create(GetWorkItemsRequestSchema)));
    this.#stream.end();
    try {
      for await (const bytes of this.#stream.responses) {
        const { request, completionToken } = fromBinary(WorkItemSchema, bytes);
        if (request.case === "workflowRequest") void this.#turn(request.value, completionToken);
        if (request.case === "activityRequest") void this.#activity(request.value, completionToken);
      }
    } catch {
      // The test ended the stream.
    }
  }

  async #turn(request: WorkflowRequest, completionToken: string): Promise<void> {
    this.requests.push(request);
    const answer = this.#script.workflow([...request.pastEvents, ...request.newEvents], request);
    if (answer === undefined) return;
    const turn = Array.isArray(answer) ? { actions: answer } : answer;
    const response = create(WorkflowResponseSchema, {
      instanceId: request.instanceId,
      completionToken,
      ...turn,
    });
    await this.#complete("CompleteWorkflowTask", toBinary(WorkflowResponseSchema, response));
  }

  async #activity(request: ActivityRequest, completionToken: string): Promise<void> {
    this.activities.push(request);
    const response = create(ActivityResponseSchema, {
      instanceId: request.workflowInstance?.instanceId ?? "",
      taskId: request.taskId,
      completionToken,
      ...(await this.#ending(request)),
    });
    await this.#complete("CompleteActivityTask", toBinary(ActivityResponseSchema, response));
  }

  async #ending(request: ActivityRequest): Promise<MessageInitShape<typeof ActivityResponseSchema>> {
    try {
      const result = await this.#script.activity?.(request);
      return result === undefined ? {} : { result };
    } catch (error) {
      return { failureDetails: { errorType: "Error", errorMessage: (error as Error).message } };
    }
  }

  async #complete(method: string, message: Uint8Array): Promise<void> {
    await this.#client.unary(`${service}/${method}`, message).catch(() => undefined);
  }
}

/** How often an event of the kind is in the history. */
export function count(events: readonly HistoryEvent[], kind: HistoryEvent["eventType"]["case"]): number {
  return events.filter(({ eventType }) => eventType.case === kind).length;
}

export function complete(id: number, result: string): Action {
  const value = { workflowStatus: OrchestrationStatus.COMPLETED, result };
  return { id, workflowActionType: { case: "completeWorkflow", value } };
}

export function schedule(id: number, name: string, targetAppID?: string): Action {
  const router = targetAppID === undefined ? {} : { router: { sourceAppID: "", targetAppID } };
  return { id, workflowActionType: { case: "scheduleTask", value: { name, ...router } } };
}

export function child(id: number, name: string, options: { instanceId?: string; app?: string } = {}): Action {
  const { instanceId = "", app } = options;
  const router = app === undefined ? {} : { router: { sourceAppID: "", targetAppID: app } };
  return { id, workflowActionType: { case: "createChildWorkflow", value: { name, instanceId, ...router } } };
}
