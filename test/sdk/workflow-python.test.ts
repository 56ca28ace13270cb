import { test } from "bun:test";
import { expectWorkflows } from "./workflow-cases.ts";
import { workflowPrograms } from "./workflow-programs.ts";

test("workflows of the Python SDK", async () => {
  await expectWorkflows(await workflowPrograms.Python());
}, 300_000);
