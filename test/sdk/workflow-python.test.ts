import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";
import { pythonVenv } from "./toolchain.ts";

const checks = [
  "chain",
  "fan-out",
  "monitor",
  "continue-as-new",
  "approval-timeout",
  "retry",
  "child",
  "patch",
  "approval",
  "saga",
  "failed",
  "early-events",
  "suspend",
  "terminate-recursive",
  "purge",
  "list",
  "history",
  "rerun",
];

test("workflows of the Python SDK", async () => {
  const folder = import.meta.dirname;
  const python = await pythonVenv(join(folder, "python/requirements.txt"));
  const result = await runSdk({
    language: "python",
    roles: { client: [python, join(folder, "workflow/python.py")] },
    folder: join(folder, "workflow"),
  });
  expect(Object.fromEntries(result)).toEqual(Object.fromEntries(checks.map((name) => [name, "ok"])));
}, 300_000);
