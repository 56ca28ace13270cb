import type { InstanceView } from "../engine/workflow/instances.ts";
import { errors, Fault } from "../errors.ts";
import type { GivenAnswer } from "../policy/use/layer.ts";
import { runPlaced } from "../policy/use/use-policies.ts";
import { OrchestrationStatus } from "../wire/orchestrator_service_pb.js";
import type { Call } from "./call.ts";
import { throwAnswer } from "./target.ts";

const idLengthMax = 64;

/** Ids of new instances are narrow; those of children, which the engine makes, are not. */
export function checkNewId(instanceId: string): void {
  checkId(instanceId);
  if (instanceId.length > idLengthMax) throw errors.WORKFLOW_ID_TOO_LONG(String(idLengthMax));
  if (!/^[A-Za-z0-9_-]+$/.test(instanceId)) throw errors.WORKFLOW_ID_INVALID(instanceId);
}

export function checkId(instanceId: string): void {
  if (instanceId === "") throw errors.WORKFLOW_ID_MISSING();
}

export function checkComponent(name: string): void {
  if (name === "") throw errors.WORKFLOW_COMPONENT_MISSING();
}

export interface WorkflowUse {
  operation: "start" | "get" | "list" | "raise" | "pause" | "resume" | "terminate" | "purge" | "rerun";
  /** Absent: all. */
  instanceId?: string;
  /** Of the workflow, where it is known; otherwise it is that of the instance. */
  name?: string;
}

/** Inside what stands round a workflow. */
export async function placedUse<T>(
  call: Call,
  { operation, instanceId, name }: WorkflowUse,
  work: () => Promise<T>,
): Promise<T> {
  const { policies, workflows } = call.app;
  if (policies.isIdle) return work();
  const known = name ?? (instanceId === undefined ? undefined : await workflows.instances.nameOf(instanceId));
  const placed = policies.at("workflow", known ?? "");
  if (placed === undefined) return work();
  const names = instanceId === undefined ? [] : [instanceId];
  const use = { operation, names, header: (lowerName: string) => call.header(lowerName) };
  const { signal } = call;
  const answer = (given: GivenAnswer): never => throwAnswer(call, given);
  return runPlaced({ placed, resilience: undefined }, use, work, { signal, answer });
}

export function statusName({ record }: InstanceView): string {
  return OrchestrationStatus[record.status] ?? "RUNNING";
}

/** What HTTP and the Dapr service call the rest of an instance. */
export function propertiesOf({ record, input }: InstanceView): Record<string, string> {
  const { output, customStatus, failure, stalled } = record;
  const all: Record<string, string | undefined> = {
    "dapr.workflow.input": input,
    "dapr.workflow.output": output,
    "dapr.workflow.custom_status": customStatus,
    "dapr.workflow.failure.error_type": failure?.errorType,
    "dapr.workflow.failure.error_message": failure?.errorMessage,
    "dapr.workflow.failure.stack_trace": failure?.stackTrace,
    "mecha.workflow.stalled": stalled,
  };
  const properties: Record<string, string> = {};
  for (const name in all) if (all[name] !== undefined) properties[name] = all[name];
  return properties;
}

/** The engine's own faults inside the one of the operation, as Dapr words it; unknown instances keep theirs. */
export async function within<T>(
  wrap: (why: string) => Fault,
  id: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const fault = Fault.from(error);
    if (fault.code === errors.WORKFLOW_NOT_FOUND.code) {
      throw errors.WORKFLOW_ID_NOT_FOUND(id, { cause: error });
    }
    if (fault.code === errors.WORKFLOW_ID_NOT_FOUND.code) throw fault;
    if (fault.code.startsWith("ERR_IDEMPOTENCY")) throw fault;
    throw wrap(fault.message);
  }
}
