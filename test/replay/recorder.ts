// Preloaded into a runtime: its workflow runner gets the `decide` that records. See record.ts.
import { join } from "node:path";

Bun.plugin({
  name: "record the turns of workflows",
  setup(build) {
    build.onResolve({ filter: /^\.\/turn\.ts$/ }, ({ importer }) =>
      importer.endsWith("/workflow-runner.ts")
        ? { path: join(import.meta.dirname, "recording-turn.ts") }
        : undefined,
    );
  },
});
