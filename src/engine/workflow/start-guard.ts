import type { StartRequest } from "./instances.ts";

/** Stands before new instances: what was started once is not started again. */
export interface StartGuard {
  /**
   * Answers the id of the instance, which may be that of an earlier start. `create` gets the id to use, and whether
   * somebody who died may have created it already.
   */
  start(
    request: Pick<StartRequest, "instanceId" | "name" | "input">,
    create: (instanceId: string, mayExist: boolean) => Promise<void>,
  ): Promise<string>;
}

export type StartGuardOf = (workflow: string) => StartGuard | undefined;
