import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";

const policy = {
  apiVersion: "mecha.run/v1alpha1",
  kind: "TrafficPolicy",
  metadata: { name: "kept" },
  spec: { targetRefs: [{ kind: "App", name: appId }], cache: { ttl: "1h" } },
};

/** A client calls an app whose answer the runtime has; a bare Bun server that answers the same is the yardstick. */
export default {
  name: "cached-get",
  run: (settings) =>
    withStarted(async (keep) => {
      const folder = mkdtempSync(join(tmpdir(), "mecha-bench-cache-"));
      await keep(Promise.resolve({ stop: async () => rmSync(folder, { recursive: true, force: true }) }));
      writeFileSync(join(folder, "policy.yaml"), JSON.stringify(policy));
      const app = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha({ appPort: app.port, flags: ["--resources-path", folder] }));
      const path = `/v1.0/invoke/${appId}/method/hello`;
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => httpRound(mecha.pid, { port: mecha.httpPort, path }, seconds),
        yardstick: (seconds) => httpRound(app.pid, { port: app.port, path: "/hello" }, seconds),
      });
      return [ratioLine("cached GET through invoke, HTTP", 1.5, "Bun echo", rounds)];
    }),
} satisfies Bench;
