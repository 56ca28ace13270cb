import type { Command } from "./command.ts";

/** Every command and where its file is; names first, so that `mecha help` and completion load only what they show. */
export const commands: Record<string, () => Promise<{ default: Command }>> = {
  run: () => import("./commands/run.ts"),
  daprd: () => import("./commands/daprd.ts"),
  dev: () => import("./commands/dev.ts"),
  stop: () => import("./commands/stop.ts"),
  list: () => import("./commands/list.ts"),
  logs: () => import("./commands/logs.ts"),
  components: () => import("./commands/components.ts"),
  invoke: () => import("./commands/invoke.ts"),
  publish: () => import("./commands/publish.ts"),
  workflow: () => import("./commands/workflow.ts"),
  state: () => import("./commands/state.ts"),
  jobs: () => import("./commands/jobs.ts"),
  schedule: () => import("./commands/schedule.ts"),
  cache: () => import("./commands/cache.ts"),
  store: () => import("./commands/store.ts"),
  identity: () => import("./commands/identity.ts"),
  configuration: () => import("./commands/configuration.ts"),
  check: () => import("./commands/check.ts"),
  explain: () => import("./commands/explain.ts"),
  doctor: () => import("./commands/doctor.ts"),
  completion: () => import("./commands/completion.ts"),
  version: () => import("./commands/version.ts"),
};
