import { expect, test } from "bun:test";
import { join } from "node:path";
import { runSdk } from "./harness.ts";

const checks = [
  "chain",
  "fan-out",
  "monitor",
  "approval",
  "approval-timeout",
  "saga",
  "child",
  "failed",
  "early-events",
  "suspend",
  "terminate",
  "purge",
  "delayed-start",
  "duplicate",
  "reuse",
];

test("workflows of the JavaScript SDK", async () => {
  const result = await runSdk({
    language: "javascript",
    roles: { client: ["node", join(import.meta.dirname, "workflow/javascript.mjs")] },
    folder: join(import.meta.dirname, "workflow"),
  });
  expect(Object.fromEntries(result)).toEqual(Object.fromEntries(checks.map((name) => [name, "ok"])));
}, 120_000);
