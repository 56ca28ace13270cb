import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Fault } from "../errors.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope, Call, HttpCall } from "./call.ts";
import { failures, text, textMap } from "./docs.ts";
import { type Fields, type HttpBinding, type HttpVerb, operation } from "./operation.ts";
import { jsonReply } from "./reply.ts";
import {
  checkComponent,
  checkId,
  checkNewId,
  placedUse,
  propertiesOf,
  statusName,
  type WorkflowUse,
  within,
} from "./workflow-target.ts";

const versions = ["v1.0", "v1.0-beta1", "v1.0-alpha1"] as const;
const group = { name: "workflows", version: "v1.0" };
const { method } = Dapr;

/** The same path in each version of the API. */
function everyVersion<I extends DescMessage, O extends DescMessage>(
  verb: HttpVerb,
  path: string,
  binding: Omit<HttpBinding<I, O>, "verbs" | "path" | "group">,
): HttpBinding<I, O>[] {
  return versions.map((version) => ({
    ...binding,
    verbs: [verb],
    path: `/${version}/workflows/{workflowComponent}/${path}`,
    group: { ...group, version },
  }));
}

const accepted = {
  202: { description: "Accepted", contentType: "application/json", schema: { type: "object" } },
};

export const startWorkflow = operation([method.startWorkflowAlpha1, method.startWorkflowBeta1], {
  name: "StartWorkflow",
  group,
  http: everyVersion("POST", "{workflowName}/start", {
    request: (http: HttpCall) =>
      after(http.body(), (input) => ({
        instanceId: http.query("instanceID") ?? "",
        workflowComponent: http.param("workflowComponent"),
        workflowName: http.param("workflowName"),
        options: {},
        input,
      })),
    reply: ({ instanceId = "" }) => jsonReply({ instanceID: instanceId }, 202),
    docs: {
      summary: "Start a workflow",
      query: { instanceID: { description: "Its id; a random one when absent", schema: text } },
      body: { "application/json": {} },
      replies: {
        202: {
          description: "Started",
          contentType: "application/json",
          schema: { type: "object", properties: { instanceID: text } },
        },
        ...failures({
          400: "ERR_INSTANCE_ID_INVALID, ERR_INSTANCE_ID_TOO_LONG, ERR_WORKFLOW_NAME_MISSING",
          500: "ERR_START_WORKFLOW",
        }),
      },
    },
  }),
  async handle({ instanceId: given, workflowComponent, workflowName, options, input }, call) {
    checkComponent(workflowComponent);
    if (workflowName === "") throw errors.WORKFLOW_NAME_MISSING();
    const instanceId = given || crypto.randomUUID();
    checkNewId(instanceId);
    const wrap = (why: string): Fault => errors.WORKFLOW_START(workflowName, why);
    const scheduledMs = startTime(options["dapr.workflow.start_time"], wrap);
    const request = {
      instanceId,
      name: workflowName,
      scheduledMs,
      ...(input.byteLength === 0 ? {} : { input: Buffer.from(input).toString("utf8") }),
      traceParent: formatTraceparent(call.span.context),
    };
    const { instances } = call.app.workflows;
    const start = () => within(wrap, instanceId, () => instances.start(request, call.signal));
    return {
      instanceId: await placedUse(call, { operation: "start", instanceId, name: workflowName }, start),
    };
  },
});

function startTime(given: string | undefined, wrap: (why: string) => Fault): number | undefined {
  if (given === undefined || given === "") return undefined;
  const ms = Date.parse(given);
  if (Number.isNaN(ms)) throw wrap(`dapr.workflow.start_time is not a time in RFC 3339: ${given}`);
  return ms;
}

export const getWorkflow = operation([method.getWorkflowAlpha1, method.getWorkflowBeta1], {
  name: "GetWorkflow",
  group,
  http: everyVersion("GET", "{instanceId}", {
    request: instanceRequest,
    reply: ({ instanceId, workflowName, createdAt, lastUpdatedAt, runtimeStatus, properties }) =>
      jsonReply({
        instanceID: instanceId,
        workflowName,
        createdAt: isoTime(createdAt?.seconds, createdAt?.nanos),
        lastUpdatedAt: isoTime(lastUpdatedAt?.seconds, lastUpdatedAt?.nanos),
        runtimeStatus,
        properties,
      }),
    docs: {
      summary: "The state of a workflow",
      replies: {
        200: {
          description: "Its state",
          contentType: "application/json",
          schema: {
            type: "object",
            properties: {
              instanceID: text,
              workflowName: text,
              createdAt: text,
              lastUpdatedAt: text,
              runtimeStatus: text,
              properties: textMap,
            },
          },
        },
        ...failures({ 404: "ERR_INSTANCE_ID_NOT_FOUND", 500: "ERR_GET_WORKFLOW" }),
      },
    },
  }),
  async handle({ instanceId, workflowComponent }, call) {
    checkComponent(workflowComponent);
    checkId(instanceId);
    const wrap = (why: string): Fault => errors.WORKFLOW_GET(instanceId, why);
    const get = () => within(wrap, instanceId, () => instancesOf(call).get(instanceId, { input: true }));
    const view = await placedUse(call, { operation: "get", instanceId }, get);
    if (view === undefined) throw errors.WORKFLOW_ID_NOT_FOUND(instanceId);
    const { record } = view;
    return {
      instanceId,
      workflowName: record.name,
      createdAt: timestampFromMs(record.createdMs),
      lastUpdatedAt: timestampFromMs(record.updatedMs),
      runtimeStatus: statusName(view),
      properties: propertiesOf(view),
    };
  },
});

function isoTime(seconds: bigint | undefined, nanos = 0): string {
  return new Date(Number(seconds ?? 0n) * 1000 + nanos / 1e6).toISOString();
}

export const raiseEventWorkflow = operation(
  [method.raiseEventWorkflowAlpha1, method.raiseEventWorkflowBeta1],
  {
    name: "RaiseEventWorkflow",
    group,
    http: everyVersion("POST", "{instanceId}/raiseEvent/{eventName}", {
      request: (http: HttpCall) =>
        after(http.body(), (eventData) => ({
          ...instanceRequest(http),
          eventName: http.param("eventName"),
          eventData,
        })),
      reply: () => jsonReply({}, 202),
      docs: {
        summary: "Send an event to a workflow",
        body: { "application/json": {} },
        replies: {
          ...accepted,
          ...failures({ 400: "ERR_WORKFLOW_EVENT_NAME_MISSING", 500: "ERR_RAISE_EVENT_WORKFLOW" }),
        },
      },
    }),
    async handle({ instanceId, workflowComponent, eventName, eventData }, call) {
      checkComponent(workflowComponent);
      checkId(instanceId);
      if (eventName === "") throw errors.WORKFLOW_EVENT_NAME_MISSING();
      const data = eventData.byteLength === 0 ? undefined : Buffer.from(eventData).toString("utf8");
      const wrap = (why: string): Fault => errors.WORKFLOW_RAISE_EVENT(instanceId, why);
      const raise = () =>
        within(wrap, instanceId, () => instancesOf(call).raiseEvent(instanceId, eventName, data));
      await placedUse(call, { operation: "raise", instanceId }, raise);
      return {};
    },
  },
);

interface InstanceRequest {
  instanceId: string;
  workflowComponent: string;
}

function instanceRequest(http: HttpCall): InstanceRequest {
  return { instanceId: http.param("instanceId"), workflowComponent: http.param("workflowComponent") };
}

/** The verbs that only name an instance. */
function verb(verbName: string, summary: string) {
  return everyVersion<DescMessage, DescMessage>("POST", `{instanceId}/${verbName}`, {
    request: instanceRequest as (http: HttpCall) => Fields<MessageShape<DescMessage>>,
    reply: () => jsonReply({}, 202),
    docs: {
      summary,
      replies: {
        ...accepted,
        ...failures({ 404: "ERR_INSTANCE_ID_NOT_FOUND", 500: `ERR_${verbName.toUpperCase()}_WORKFLOW` }),
      },
    },
  }) as unknown as HttpBinding<never, never>[];
}

interface Act {
  operation: WorkflowUse["operation"];
  wrap(id: string, why: string): Fault;
  work(instanceId: string): Promise<unknown>;
}

async function act(
  call: Call,
  { instanceId, workflowComponent }: InstanceRequest,
  { operation, wrap, work }: Act,
): Promise<MessageInitShape<DescMessage>> {
  checkComponent(workflowComponent);
  checkId(instanceId);
  const wrapped = (why: string): Fault => wrap(instanceId, why);
  await placedUse(call, { operation, instanceId }, () => within(wrapped, instanceId, () => work(instanceId)));
  return {};
}

const instancesOf = ({ app }: Call): AppScope["workflows"]["instances"] => app.workflows.instances;

export const pauseWorkflow = operation([method.pauseWorkflowAlpha1, method.pauseWorkflowBeta1], {
  name: "PauseWorkflow",
  group,
  http: verb("pause", "Suspend a workflow"),
  handle: (request, call) =>
    act(call, request, {
      operation: "pause",
      wrap: errors.WORKFLOW_PAUSE,
      work: (id) => instancesOf(call).suspend(id, undefined, call.signal),
    }),
});

export const resumeWorkflow = operation([method.resumeWorkflowAlpha1, method.resumeWorkflowBeta1], {
  name: "ResumeWorkflow",
  group,
  http: verb("resume", "Let a suspended workflow go on"),
  handle: (request, call) =>
    act(call, request, {
      operation: "resume",
      wrap: errors.WORKFLOW_RESUME,
      work: (id) => instancesOf(call).resume(id, undefined, call.signal),
    }),
});

export const terminateWorkflow = operation([method.terminateWorkflowAlpha1, method.terminateWorkflowBeta1], {
  name: "TerminateWorkflow",
  group,
  http: verb("terminate", "End a workflow and its children"),
  handle: (request, call) =>
    act(call, request, {
      operation: "terminate",
      wrap: errors.WORKFLOW_TERMINATE,
      work: (id) => instancesOf(call).terminate(id, { recurse: true, signal: call.signal }),
    }),
});

export const purgeWorkflow = operation([method.purgeWorkflowAlpha1, method.purgeWorkflowBeta1], {
  name: "PurgeWorkflow",
  group,
  http: verb("purge", "Remove a finished workflow and its children"),
  handle: (request, call) =>
    act(call, request, {
      operation: "purge",
      wrap: errors.WORKFLOW_PURGE,
      work: (instanceId) => call.app.workflows.purge({ instanceId, recursive: true, force: false }),
    }),
});

export const workflowOperations = [
  startWorkflow,
  getWorkflow,
  raiseEventWorkflow,
  pauseWorkflow,
  resumeWorkflow,
  terminateWorkflow,
  purgeWorkflow,
];
