import type { Command } from "./command.ts";

/** Every command and where its file is; names first, so that `mecha help` and completion load only what they show. */
export const commands: Record<string, () => Promise<{ default: Command }>> = {
  run: () => import("./commands/run.ts"),
  daprd: () => import("./commands/daprd.ts"),
};
