// The cases of issue "workflows": every SDK runs the same list; what one lacks is named with its reason.
import { expect } from "bun:test";
import { runSdk } from "./harness.ts";
import type { WorkflowProgram } from "./workflow-programs.ts";

export const workflowCases = [
  "chain",
  "fan-out",
  "monitor",
  "approval",
  "approval-timeout",
  "saga",
  "child",
  "continue-as-new",
  "carry-over",
  "early-events",
  "retry",
  "failed",
  "suspend",
  "terminate",
  "terminate-recursive",
  "purge",
  "purge-recursive",
  "reconnect",
  "multi-app-activity",
  "multi-app-child",
  "handed-history",
  "delayed-start",
  "duplicate",
  "reuse",
  "patch",
  "version",
  "stalled",
  "list",
  "history",
  "history-deltas",
  "rerun",
] as const;

export type WorkflowCase = (typeof workflowCases)[number];

/** Runs one SDK's program, which is worker of the apps `client` and `other` and client at once. */
export async function expectWorkflows({ command, absent = {}, ...program }: WorkflowProgram): Promise<void> {
  const result = await runSdk({ ...program, roles: { client: command }, hasOtherApp: true });
  const wanted = workflowCases.map((name) => {
    const reason = absent[name];
    return [name, reason === undefined ? "ok" : `skip: ${reason}`];
  });
  expect(Object.fromEntries(result)).toEqual(Object.fromEntries(wanted));
}
