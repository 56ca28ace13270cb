// The programs that are workers and clients of workflows at once, made ready to run, with what their SDK lacks.
import { join } from "node:path";
import type { SdkProgram } from "./harness.ts";
import { goBuild, javaProgram, pythonVenv } from "./toolchain.ts";
import type { WorkflowCase } from "./workflow-cases.ts";

export interface WorkflowProgram extends Pick<SdkProgram, "language" | "folder" | "resources" | "sidecars"> {
  command: string[];
  absent?: Partial<Record<WorkflowCase, string>>;
}

const folder = join(import.meta.dirname, "workflow");

/** By the name of the SDK. */
export const workflowPrograms = {
  async JavaScript(): Promise<WorkflowProgram> {
    const command = ["node", join(folder, "javascript.mjs")];
    const absent = {
      ...endsOneAlone,
      ...readsNoHistories,
      retry: "a call of an activity takes no retry policy",
      "multi-app-activity": "a call of an activity takes no app",
      "multi-app-child": "a call of a child takes no app",
      patch: "the context knows no patches",
      version: "a worker registers no versions",
      stalled: "a worker registers no versions",
    };
    return { language: "javascript", folder, command, absent };
  },
  async Go(): Promise<WorkflowProgram> {
    const absent = { "history-deltas": "the worker keeps no histories" };
    return { language: "go", folder, command: [await goBuild(join(folder, "go"))], absent };
  },
  async Python(): Promise<WorkflowProgram> {
    const python = await pythonVenv(join(import.meta.dirname, "python/requirements.txt"));
    return { language: "python", folder, command: [python, join(folder, "python.py")] };
  },
  async Java(): Promise<WorkflowProgram> {
    const command = await javaProgram(join(folder, "java"));
    return { language: "java", folder, command, absent: { ...endsOneAlone, ...readsNoHistories } };
  },
};

const endsOneAlone = {
  "terminate-recursive": "the client ends the instance alone",
  "purge-recursive": "the client purges the instance alone",
};

const readsNoHistories = {
  "handed-history": "the context hands no history on",
  list: "the client does not list",
  history: "the client reads no histories",
  "history-deltas": "the worker keeps no histories",
  rerun: "the client does not rerun",
};
