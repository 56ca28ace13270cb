import { toJson } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { errors } from "../../errors.ts";
import { GrpcError, grpcCode } from "../../net/grpc/index.ts";
import {
  GetInstanceHistoryResponseSchema,
  OrchestrationStatus,
  type WorkflowState,
  WorkflowStateSchema,
} from "../../wire/orchestrator_service_pb.js";
import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { age, table } from "../output/table.ts";
import { timeline, timelineText } from "../output/timeline.ts";
import { CommandError, jsonFlag, targetFlags } from "../runtime-client.ts";
import { type WorkflowClient, withWorkflows } from "../workflow-client.ts";
import { allStates, isSelecting, selectionFlags, selectionOf, stateOf } from "../workflow-selection.ts";

const goneCodes: number[] = [grpcCode.NOT_FOUND, grpcCode.FAILED_PRECONDITION];

type Verb = (client: WorkflowClient, context: CommandContext, subject: string) => Promise<number>;

const verbs: Record<string, Verb> = {
  run,
  list,
  show,
  history,
  raise,
  suspend: (client, { values }, instanceId) =>
    done(client.call(client.method.suspendInstance, { instanceId, ...reasonOf(values.text("reason")) })),
  resume: (client, { values }, instanceId) =>
    done(client.call(client.method.resumeInstance, { instanceId, ...reasonOf(values.text("reason")) })),
  terminate: (client, { values }, instanceId) =>
    done(
      client.call(client.method.terminateInstance, {
        instanceId,
        recursive: true,
        ...(values.isGiven("output") ? { output: jsonText(values.text("output")) } : {}),
      }),
    ),
  purge,
  rerun,
};

export default command({
  name: "workflow",
  category: "talk",
  summary: "Run workflows and look into them",
  usage:
    "mecha workflow run NAME [INPUT] | list | show ID | history ID | raise ID EVENT [DATA] | suspend ID | resume ID | terminate ID | purge ID | purge --all | rerun ID EVENT-ID",
  flags: [
    ...targetFlags.filter(({ name }) => name !== "dapr-http-port"),
    {
      name: "dapr-grpc-port",
      type: "number",
      default: 0,
      description: "ask the runtime on this port instead",
    },
    jsonFlag,
    { name: "id", type: "text", default: "", description: "run, rerun: the id of the new instance" },
    {
      name: "wait",
      type: "boolean",
      default: false,
      description: "run: wait for the end and print the output",
    },
    { name: "input", type: "text", description: "rerun: another input for the step" },
    { name: "output", type: "text", description: "terminate: the output of the workflow" },
    { name: "reason", type: "text", default: "", description: "suspend, resume: why" },
    { name: "force", type: "boolean", default: false, description: "purge: also when it still runs" },
    ...selectionFlags,
    { name: "all", type: "boolean", default: false, description: "purge: all that have ended" },
  ],
  examples: [
    'mecha workflow run order_processing \'{"item": "paper"}\' --wait',
    "mecha workflow show order-1",
    "mecha workflow raise order-1 approved true",
    "mecha workflow list --status failed,stalled",
    "mecha workflow purge --status completed --older-than 24h",
  ],
  run(context) {
    const [word = "", subject = ""] = context.positionals;
    const verb = verbs[word];
    if (verb === undefined) throw new UsageError(`unknown verb "${word}"`, Object.keys(verbs).join(", "));
    if (subject === "" && word !== "list" && word !== "purge")
      throw new UsageError(`say which: mecha workflow ${word} …`);
    return withWorkflows(context, (client) =>
      verb(client, context, subject).catch((error: unknown) => {
        throw explained(error, subject);
      }),
    );
  },
});

/** The engine's words are those of the SDKs; here there is an id, and something to do next. */
function explained(error: unknown, instanceId: string): unknown {
  if (!(error instanceof GrpcError) || instanceId === "") return error;
  const isUnknown = error.message === errors.WORKFLOW_NOT_FOUND().message;
  if (error.code === grpcCode.NOT_FOUND) {
    return isUnknown
      ? unknown(instanceId)
      : new CommandError(error.message, { hint: `mecha workflow show ${instanceId}` });
  }
  if (error.code !== grpcCode.FAILED_PRECONDITION) return error;
  return new CommandError(`${instanceId}: ${error.message}`, {
    hint: `mecha workflow terminate ${instanceId}, or purge --force`,
  });
}

function unknown(instanceId: string): CommandError {
  return new CommandError(`there is no workflow ${instanceId}`, { hint: "mecha workflow list" });
}

async function run(client: WorkflowClient, context: CommandContext, name: string): Promise<number> {
  const { values, positionals, out } = context;
  const input = positionals[2];
  const { instanceId } = await client.call(client.method.startInstance, {
    instanceId: values.text("id"),
    name,
    ...(input === undefined ? {} : { input: jsonText(input) }),
  });
  if (!values.boolean("wait")) {
    out(values.boolean("json") ? `${JSON.stringify({ instanceId })}\n` : `${instanceId}\n`);
    return 0;
  }
  const request = { instanceId, getInputsAndOutputs: true };
  const { workflowState } = await client.call(client.method.waitForInstanceCompletion, request);
  if (workflowState === undefined) throw new CommandError(`${instanceId} was purged meanwhile`);
  if (values.boolean("json")) printState(workflowState, context);
  else if (workflowState.output !== undefined) out(`${workflowState.output}\n`);
  if (workflowState.workflowStatus === OrchestrationStatus.COMPLETED) return 0;
  const { failureDetails } = workflowState;
  const why = failureDetails === undefined ? "" : `: ${failureDetails.errorMessage}`;
  throw new CommandError(`${instanceId} ${statusOf(workflowState).toLowerCase()}${why}`, {
    hint: `mecha workflow show ${instanceId}`,
  });
}

async function list(client: WorkflowClient, context: CommandContext): Promise<number> {
  const { values, out, talk } = context;
  const limit = values.number("limit");
  if (limit < 1) throw new UsageError(`--limit ${limit}: a list has at least one line`);
  const isMeant = selectionOf(context);
  const chosen: WorkflowState[] = [];
  let isMore = false;
  for await (const state of allStates(client, values.text("after"))) {
    if (!isMeant(state)) continue;
    isMore = chosen.length === limit;
    if (isMore) break;
    chosen.push(state);
  }
  if (values.boolean("json")) {
    out(`${JSON.stringify(chosen.map((state) => toJson(WorkflowStateSchema, state)))}\n`);
  } else {
    const rows = chosen.map((state) => [
      state.instanceId,
      state.name,
      statusOf(state),
      age(isoTime(state.createdTimestamp)),
      age(isoTime(state.lastUpdatedTimestamp)),
    ]);
    out(table(["id", "workflow", "status", "age", "updated"], rows));
  }
  if (isMore) talk(`more: --after ${chosen.at(-1)?.instanceId}\n`);
  return 0;
}

async function show(client: WorkflowClient, context: CommandContext, instanceId: string): Promise<number> {
  const state = await stateOf(client, instanceId, true);
  if (state === undefined) throw unknown(instanceId);
  const { events } = await client.call(client.method.getInstanceHistory, { instanceId });
  const steps = timeline(events);
  const { out, values } = context;
  if (values.boolean("json")) {
    out(`${JSON.stringify({ ...(toJson(WorkflowStateSchema, state) as object), timeline: steps })}\n`);
    return 0;
  }
  const facts: [string, string | undefined][] = [
    ["workflow", state.name],
    ["id", state.instanceId],
    ["status", statusOf(state)],
    ["created", isoTime(state.createdTimestamp)],
    ["input", state.input],
    ["output", state.output],
    ["custom status", state.customStatus],
    ["failure", state.failureDetails?.errorMessage],
    ["parent", state.parentInstanceId],
  ];
  for (const [name, value] of facts) if (value !== undefined) out(`${name.padEnd(14)} ${value}\n`);
  out("\n");
  out(table(["when", "event", "kind", "name", "input", "result", "took"], timelineText(steps)));
  return 0;
}

async function history(client: WorkflowClient, context: CommandContext, instanceId: string): Promise<number> {
  const reply = await client.call(client.method.getInstanceHistory, { instanceId });
  const { events = [] } = toJson(GetInstanceHistoryResponseSchema, reply) as { events?: object[] };
  if (context.values.boolean("json")) context.out(`${JSON.stringify(events)}\n`);
  else for (const event of events) context.out(`${JSON.stringify(event)}\n`);
  return 0;
}

function raise(client: WorkflowClient, { positionals }: CommandContext, instanceId: string): Promise<number> {
  const [, , name, data] = positionals;
  if (name === undefined) throw new UsageError("say which event: mecha workflow raise ID EVENT [DATA]");
  const input = data === undefined ? {} : { input: jsonText(data) };
  return done(client.call(client.method.raiseEvent, { instanceId, name, ...input }));
}

async function purge(client: WorkflowClient, context: CommandContext, instanceId: string): Promise<number> {
  const { values, out, talk } = context;
  const isMany = values.boolean("all") || isSelecting(context);
  if (isMany === (instanceId !== "")) {
    throw new UsageError(
      isMany ? "say an id or which ones, not both" : "say which",
      "mecha workflow purge ID | purge --all | purge --status completed --older-than 24h",
    );
  }
  const deletedInstanceCount = isMany
    ? await purgeMany(client, context)
    : await purgeOne(client, instanceId, values.boolean("force"));
  if (values.boolean("json")) out(`${JSON.stringify({ deletedInstanceCount })}\n`);
  else talk(`${deletedInstanceCount} purged\n`);
  return 0;
}

async function purgeMany(client: WorkflowClient, context: CommandContext): Promise<number> {
  const { values } = context;
  if (values.boolean("force")) throw new UsageError("--force is for one id: it takes what still runs");
  const isMeant = selectionOf(context);
  const ids: string[] = [];
  for await (const state of allStates(client, "")) {
    if (hasEnded(state) && isMeant(state)) ids.push(state.instanceId);
  }
  let purged = 0;
  for (const id of ids) {
    try {
      purged += await purgeOne(client, id, false);
    } catch (error) {
      // It went with its parent, or its id has begun again.
      const isOver = error instanceof GrpcError && goneCodes.includes(error.code);
      if (!isOver) throw error;
    }
  }
  return purged;
}

async function purgeOne(client: WorkflowClient, instanceId: string, force: boolean): Promise<number> {
  const request = { case: "instanceId", value: instanceId } as const;
  const options = { request, recursive: true, force };
  return (await client.call(client.method.purgeInstances, options)).deletedInstanceCount;
}

function hasEnded({ workflowStatus }: WorkflowState): boolean {
  const { COMPLETED, FAILED, TERMINATED, CANCELED } = OrchestrationStatus;
  return [COMPLETED, FAILED, TERMINATED, CANCELED].includes(workflowStatus);
}

async function rerun(
  client: WorkflowClient,
  context: CommandContext,
  sourceInstanceID: string,
): Promise<number> {
  const { positionals, values, out } = context;
  const eventID = Number(positionals[2]);
  if (!Number.isInteger(eventID) || eventID < 0) {
    throw new UsageError("say from which event: mecha workflow rerun ID EVENT-ID", "mecha workflow show ID");
  }
  const { newInstanceID } = await client.call(client.method.rerunWorkflowFromEvent, {
    sourceInstanceID,
    eventID,
    ...(values.text("id") === "" ? {} : { newInstanceID: values.text("id") }),
    ...(values.isGiven("input") ? { input: jsonText(values.text("input")), overwriteInput: true } : {}),
  });
  out(values.boolean("json") ? `${JSON.stringify({ instanceId: newInstanceID })}\n` : `${newInstanceID}\n`);
  return 0;
}

function printState(state: WorkflowState, { out }: CommandContext): void {
  out(`${JSON.stringify(toJson(WorkflowStateSchema, state))}\n`);
}

async function done(work: Promise<unknown>): Promise<number> {
  await work;
  return 0;
}

function statusOf({ workflowStatus }: WorkflowState): string {
  return OrchestrationStatus[workflowStatus] ?? String(workflowStatus);
}

function isoTime(timestamp: WorkflowState["createdTimestamp"]): string {
  return new Date(timestamp === undefined ? 0 : timestampMs(timestamp)).toISOString();
}

function reasonOf(reason: string): { reason?: string } {
  return reason === "" ? {} : { reason };
}

/** SDKs expect JSON: any other text is sent as a JSON string. */
function jsonText(value: string): string {
  try {
    JSON.parse(value);
    return value;
  } catch {
    return JSON.stringify(value);
  }
}
