import { test } from "bun:test";
import { join } from "node:path";
import { pythonVenv } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

test("workflows of the Python SDK", async () => {
  const folder = import.meta.dirname;
  const python = await pythonVenv(join(folder, "python/requirements.txt"));
  const program = { language: "python", folder: join(folder, "workflow") };
  await expectWorkflows(program, [python, join(folder, "workflow/python.py")]);
}, 300_000);
