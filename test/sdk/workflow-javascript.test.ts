import { test } from "bun:test";
import { expectWorkflows } from "./workflow-cases.ts";
import { workflowPrograms } from "./workflow-programs.ts";

test("workflows of the JavaScript SDK", async () => {
  await expectWorkflows(await workflowPrograms.JavaScript());
}, 120_000);
