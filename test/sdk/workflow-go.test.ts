import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";
import { goBuild } from "./toolchain.ts";

const checks = [
  "chain",
  "fan-out",
  "monitor",
  "approval-timeout",
  "child",
  "failed",
  "approval",
  "terminate",
];

test("workflows of the Go SDK", async () => {
  const folder = join(import.meta.dirname, "workflow/go");
  const program = await goBuild(folder);
  const result = await runSdk({ language: "go", roles: { client: [program] }, folder });
  expect(Object.fromEntries(result)).toEqual(Object.fromEntries(checks.map((name) => [name, "ok"])));
}, 300_000);
