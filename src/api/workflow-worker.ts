import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { failureDetails } from "../engine/workflow/events.ts";
import type { InstanceView } from "../engine/workflow/instances.ts";
import { errors } from "../errors.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import {
  type GetInstanceResponseSchema,
  type GetWorkItemsRequest,
  HistoryEventSchema,
  TaskHubSidecarService,
  WorkerCapability,
  type WorkflowStateSchema,
} from "../wire/orchestrator_service_pb.js";
import type { AppScope } from "./call.ts";
import { operation, streaming } from "./operation.ts";
import { placedUse } from "./workflow-target.ts";

/** What the workers and workflow clients of the SDKs speak (dapr-api.md §10.3). */
const { method } = TaskHubSidecarService;
const group = { name: "workflows", version: "v1.0" };
/** Items that a worker is given at once. */
const itemsMaxDefault = 1000;
const pageSizeDefault = 1024;
const pageSizeMax = 10_000;

const hello = operation(method.hello, { name: "Hello", group, handle: () => ({}) });

const startInstance = operation(method.startInstance, {
  name: "StartInstance",
  group,
  async handle(request, call) {
    const { name, version, input, tags, executionId, scheduledStartTimestamp, parentTraceContext } = request;
    const instanceId = request.instanceId || crypto.randomUUID();
    if (name === "") throw errors.WORKFLOW_NAME_MISSING();
    const start = {
      instanceId,
      name,
      version,
      input,
      tags,
      executionId,
      scheduledMs: scheduledStartTimestamp && timestampMs(scheduledStartTimestamp as Timestamp),
      traceParent: parentTraceContext?.traceParent || formatTraceparent(call.span.context),
    };
    const work = () => call.app.workflows.instances.start(start, call.signal);
    return { instanceId: await placedUse(call, { operation: "start", instanceId, name }, work) };
  },
});

type InstanceReply = MessageInitShape<typeof GetInstanceResponseSchema>;

const getInstance = operation(method.getInstance, {
  name: "GetInstance",
  group,
  async handle({ instanceId, getInputsAndOutputs: payloads }, call): Promise<InstanceReply> {
    const { app } = call;
    const get = () => app.workflows.instances.get(instanceId, { input: payloads });
    const view = await placedUse(call, { operation: "get", instanceId }, get);
    return view === undefined ? { exists: false } : replyOf(view, payloads, app);
  },
});

const waitForInstanceStart = operation(method.waitForInstanceStart, {
  name: "WaitForInstanceStart",
  group,
  async handle({ instanceId, getInputsAndOutputs: payloads }, call): Promise<InstanceReply> {
    const { app, signal } = call;
    const wait = () => app.workflows.instances.waitForStart(instanceId, payloads, signal);
    return replyOf(await placedUse(call, { operation: "get", instanceId }, wait), payloads, app);
  },
});

const waitForInstanceCompletion = operation(method.waitForInstanceCompletion, {
  name: "WaitForInstanceCompletion",
  group,
  async handle({ instanceId, getInputsAndOutputs: payloads }, call): Promise<InstanceReply> {
    const { app, signal } = call;
    const wait = () => app.workflows.instances.waitForEnd(instanceId, payloads, signal);
    return replyOf(await placedUse(call, { operation: "get", instanceId }, wait), payloads, app);
  },
});

function replyOf(view: InstanceView, payloads: boolean, app: AppScope): InstanceReply {
  return { exists: true, workflowState: stateOf(view, payloads, app) };
}

function stateOf(
  { id, record, input }: InstanceView,
  payloads: boolean,
  app: AppScope,
): MessageInitShape<typeof WorkflowStateSchema> {
  const { name, version, status, executionId, createdMs, updatedMs, startedMs, completedMs } = record;
  const { scheduledMs, output, customStatus, failure, parent, tags = {} } = record;
  return {
    instanceId: id,
    name,
    workflowStatus: status,
    executionId,
    tags,
    createdTimestamp: timestampFromMs(createdMs),
    lastUpdatedTimestamp: timestampFromMs(updatedMs),
    ...(version === undefined ? {} : { version }),
    ...(scheduledMs === undefined ? {} : { scheduledStartTimestamp: timestampFromMs(scheduledMs) }),
    ...(startedMs === undefined ? {} : { startedAt: timestampFromMs(startedMs) }),
    ...(completedMs === undefined ? {} : { completedTimestamp: timestampFromMs(completedMs) }),
    ...(parent === undefined ? {} : { parentInstanceId: parent.instanceId }),
    ...(parent === undefined || parent.appId === app.principal.appId ? {} : { parentAppId: parent.appId }),
    ...(payloads && input !== undefined ? { input } : {}),
    ...(payloads && output !== undefined ? { output } : {}),
    ...(payloads && customStatus !== undefined ? { customStatus } : {}),
    ...(payloads && failure !== undefined ? { failureDetails: failureDetails(failure) } : {}),
  };
}

const raiseEvent = operation(method.raiseEvent, {
  name: "RaiseEvent",
  group,
  async handle({ instanceId, name, input }, call) {
    const raise = () => call.app.workflows.instances.raiseEvent(instanceId, name, input);
    await placedUse(call, { operation: "raise", instanceId }, raise);
    return {};
  },
});

const terminateInstance = operation(method.terminateInstance, {
  name: "TerminateInstance",
  group,
  async handle({ instanceId, output, recursive }, call) {
    const { app, signal } = call;
    const terminate = () =>
      app.workflows.instances.terminate(instanceId, { output, recurse: recursive, signal });
    await placedUse(call, { operation: "terminate", instanceId }, terminate);
    return {};
  },
});

const suspendInstance = operation(method.suspendInstance, {
  name: "SuspendInstance",
  group,
  async handle({ instanceId, reason }, call) {
    const pause = () => call.app.workflows.instances.suspend(instanceId, reason, call.signal);
    await placedUse(call, { operation: "pause", instanceId }, pause);
    return {};
  },
});

const resumeInstance = operation(method.resumeInstance, {
  name: "ResumeInstance",
  group,
  async handle({ instanceId, reason }, call) {
    const resume = () => call.app.workflows.instances.resume(instanceId, reason, call.signal);
    await placedUse(call, { operation: "resume", instanceId }, resume);
    return {};
  },
});

const purgeInstances = operation(method.purgeInstances, {
  name: "PurgeInstances",
  group,
  async handle({ request, recursive, force = false }, call) {
    if (request.case !== "instanceId") throw errors.WORKFLOW_RERUN("purge by filter is not supported");
    const purge = { instanceId: request.value, recursive, force };
    const { instanceId } = purge;
    const count = await placedUse(call, { operation: "purge", instanceId }, () =>
      call.app.workflows.purge(purge),
    );
    return { deletedInstanceCount: count, isComplete: true };
  },
});

const getWorkItems = streaming(method.getWorkItems, {
  name: "GetWorkItems",
  group,
  async handle(requests, send, call) {
    // The JavaScript worker keeps 110 items and drops what comes beyond.
    const isNode = call.header("user-agent")?.includes("grpc-node-js") === true;
    const itemsMax = isNode ? 100 : itemsMaxDefault;
    const keepsHistories = (await capabilitiesOf(requests)).includes(WorkerCapability.STATEFUL_HISTORY);
    const worker = {
      send: (item: object) => send(item as Parameters<typeof send>[0]),
      itemsMax,
      keepsHistories,
    };
    await call.app.workflows.serve(worker, call.signal);
  },
});

/** Of the only request of the stream. */
async function capabilitiesOf(requests: AsyncIterable<GetWorkItemsRequest>): Promise<WorkerCapability[]> {
  for await (const { capabilities } of requests) return capabilities;
  return [];
}

const completeActivityTask = operation(method.completeActivityTask, {
  name: "CompleteActivityTask",
  group,
  handle(response, { app }) {
    app.workflows.completeActivity(response as Parameters<Engine["completeActivity"]>[0]);
    return {};
  },
});

type Engine = AppScope["workflows"];

const completeWorkflowTask = operation([method.completeWorkflowTask, method.completeOrchestratorTask], {
  name: "CompleteWorkflowTask",
  group,
  handle(response, { app }) {
    app.workflows.completeWorkflow(response as Parameters<Engine["completeWorkflow"]>[0]);
    return {};
  },
});

const rerunWorkflowFromEvent = operation(method.rerunWorkflowFromEvent, {
  name: "RerunWorkflowFromEvent",
  group,
  async handle(request, call) {
    const { sourceInstanceID, eventID, newInstanceID, input, overwriteInput } = request;
    if (sourceInstanceID === "") throw errors.WORKFLOW_ID_MISSING();
    const newId = newInstanceID || crypto.randomUUID();
    const rerun = () =>
      call.app.workflows.rerun({
        sourceId: sourceInstanceID,
        eventId: eventID,
        newId,
        input,
        overwritesInput: overwriteInput,
        newChildId: request.newChildWorkflowInstanceID,
      });
    await placedUse(call, { operation: "rerun", instanceId: sourceInstanceID }, rerun);
    return { newInstanceID: newId };
  },
});

const listInstanceIds = operation(method.listInstanceIDs, {
  name: "ListInstanceIDs",
  group,
  async handle({ continuationToken, pageSize }, call) {
    const limit = Math.min(pageSize || pageSizeDefault, pageSizeMax);
    const list = () => call.app.workflows.instances.list({ after: continuationToken || undefined, limit });
    const page = await placedUse(call, { operation: "list" }, list);
    const last = page.at(-1);
    const instanceIds = page.map(({ id }) => id);
    return last === undefined || page.length < limit
      ? { instanceIds }
      : { instanceIds, continuationToken: last.id };
  },
});

const getInstanceHistory = operation(method.getInstanceHistory, {
  name: "GetInstanceHistory",
  group,
  async handle({ instanceId }, call) {
    const read = () => call.app.workflows.instances.history(instanceId);
    const history = await placedUse(call, { operation: "get", instanceId }, read);
    return { events: history.map((bytes) => fromBinary(HistoryEventSchema, bytes)) };
  },
});

export const workerOperations = [
  hello,
  startInstance,
  getInstance,
  waitForInstanceStart,
  waitForInstanceCompletion,
  raiseEvent,
  terminateInstance,
  suspendInstance,
  resumeInstance,
  purgeInstances,
  getWorkItems,
  completeActivityTask,
  completeWorkflowTask,
  rerunWorkflowFromEvent,
  listInstanceIds,
  getInstanceHistory,
];
