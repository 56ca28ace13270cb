import { test } from "bun:test";
import { join } from "node:path";
import { goBuild } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

test("workflows of the Go SDK", async () => {
  const folder = join(import.meta.dirname, "workflow/go");
  await expectWorkflows({ language: "go", folder }, [await goBuild(folder)]);
}, 300_000);
