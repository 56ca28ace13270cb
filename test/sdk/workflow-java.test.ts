import { test } from "bun:test";
import { expectWorkflows } from "./workflow-cases.ts";
import { workflowPrograms } from "./workflow-programs.ts";

test("workflows of the Java SDK", async () => {
  await expectWorkflows(await workflowPrograms.Java());
}, 600_000);
