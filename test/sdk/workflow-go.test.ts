import { test } from "bun:test";
import { expectWorkflows } from "./workflow-cases.ts";
import { workflowPrograms } from "./workflow-programs.ts";

test.each([false, true])(
  "workflows of the Go SDK (a runtime process per app: %p)",
  async (sidecars) => {
    await expectWorkflows({ ...(await workflowPrograms.Go()), sidecars });
  },
  300_000,
);
