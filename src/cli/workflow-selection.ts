import { timestampMs } from "@bufbuild/protobuf/wkt";
import { parseDuration } from "../kit/duration.ts";
import { OrchestrationStatus, type WorkflowState } from "../wire/orchestrator_service_pb.js";
import type { CommandContext } from "./command.ts";
import { type Flag, UsageError } from "./flags.ts";
import type { WorkflowClient } from "./workflow-client.ts";

/** Flags that choose among the instances of an app. */
export const selectionFlags: readonly Flag[] = [
  { name: "status", type: "list", default: [], description: "list, purge: only those with one of these" },
  { name: "name", type: "text", default: "", description: "list, purge: only those of this workflow" },
  {
    name: "older-than",
    type: "text",
    default: "",
    description: "list, purge: only those that nothing happened to for so long (24h, P30D)",
  },
  { name: "limit", type: "number", default: 100, description: "list: at most so many" },
  { name: "after", type: "text", default: "", description: "list: go on after this id" },
];

export type Selection = (state: WorkflowState) => boolean;

const pageSize = 200;
const asksAtOnce = 20;

/** True for the instances that the flags mean. */
export function selectionOf({ values }: CommandContext): Selection {
  const statuses = values.list("status").map(statusNamed);
  const name = values.text("name");
  const olderThan = values.text("older-than");
  const before = olderThan === "" ? undefined : Date.now() - durationOf(olderThan);
  return (state) =>
    (statuses.length === 0 || statuses.includes(state.workflowStatus)) &&
    (name === "" || state.name === name) &&
    (before === undefined || changedAt(state) < before);
}

export function isSelecting({ values }: CommandContext): boolean {
  return ["status", "name", "older-than"].some((flag) => values.isGiven(flag));
}

/** The states of all instances after the id `after`, page by page. */
export async function* allStates(client: WorkflowClient, after: string): AsyncGenerator<WorkflowState> {
  let continuationToken: string | undefined = after === "" ? undefined : after;
  do {
    const page = await client.call(client.method.listInstanceIDs, {
      pageSize,
      ...(continuationToken === undefined ? {} : { continuationToken }),
    });
    for (let first = 0; first < page.instanceIds.length; first += asksAtOnce) {
      const ids = page.instanceIds.slice(first, first + asksAtOnce);
      const states = await Promise.all(ids.map((instanceId) => stateOf(client, instanceId, false)));
      for (const state of states) if (state !== undefined) yield state;
    }
    continuationToken = page.continuationToken || undefined;
  } while (continuationToken !== undefined);
}

export async function stateOf(
  client: WorkflowClient,
  instanceId: string,
  getInputsAndOutputs: boolean,
): Promise<WorkflowState | undefined> {
  const reply = await client.call(client.method.getInstance, { instanceId, getInputsAndOutputs });
  return reply.exists ? reply.workflowState : undefined;
}

function statusNamed(word: string): OrchestrationStatus {
  const status = OrchestrationStatus[word.toUpperCase() as keyof typeof OrchestrationStatus];
  if (typeof status === "number") return status;
  const names = Object.keys(OrchestrationStatus).filter((name) => Number.isNaN(Number(name)));
  throw new UsageError(`--status ${word} is no status of a workflow`, names.join(", "));
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(`--older-than ${text}: ${(error as Error).message}`, "for example 90m, 24h, P30D");
  }
}

function changedAt({ lastUpdatedTimestamp, createdTimestamp }: WorkflowState): number {
  const timestamp = lastUpdatedTimestamp ?? createdTimestamp;
  return timestamp === undefined ? 0 : timestampMs(timestamp);
}
