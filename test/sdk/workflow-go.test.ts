import { test } from "bun:test";
import { join } from "node:path";
import { goBuild } from "./toolchain.ts";
import { expectWorkflows } from "./workflow-cases.ts";

const absent = { "history-deltas": "the worker keeps no histories" };

test.each([false, true])(
  "workflows of the Go SDK (a runtime process per app: %p)",
  async (sidecars) => {
    const folder = join(import.meta.dirname, "workflow/go");
    await expectWorkflows({ language: "go", folder, sidecars }, [await goBuild(folder)], absent);
  },
  300_000,
);
