import { startService } from "../scripts/services.ts";
import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { startPair } from "./harness/pair.ts";
import { startProgram } from "./harness/program.ts";

/** A timeout, retries, a breaker, outlier detection and an access policy, each of which lets everything pass. */
const policies = `
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: { name: bench }
spec:
  policies:
    timeouts: { t: 5s }
    retries: { r: { maxRetries: 2, matching: { httpStatusCodes: 500-599 } } }
    circuitBreakers: { cb: { trip: consecutiveFailures > 5 } }
  targets: { apps: { callee: { timeout: t, retry: r, circuitBreaker: cb } } }
---
apiVersion: mecha.run/v1alpha1
kind: TrafficPolicy
metadata: { name: bench }
spec:
  targetRefs: [{ kind: App, name: callee }]
  outlierDetection: { consecutive5xxErrors: 5 }
---
apiVersion: mecha.run/v1alpha1
kind: AuthorizationPolicy
metadata: { name: bench }
spec:
  targetRefs: [{ kind: App, name: callee }]
  action: ALLOW
  rules: [{ from: [{ source: { principals: ["*/ns/default/caller"] } }], to: [{ operation: { paths: ["/hello"] } }] }]
`;

/** A call between two apps, through the runtimes of both. */
export default {
  name: "two-hops",
  run: (settings) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("http-echo"));
      const nginx = await keep(startService("nginx", { options: { upstream: `127.0.0.1:${app.port}` } }));
      const plain = await keep(startPair({ appPort: app.port }));
      const secured = await keep(startPair({ appPort: app.port, flags: ["--enable-mtls"] }));
      const governed = await keep(startPair({ appPort: app.port, resources: policies }));
      const againstNginx = await takeTurns(settings, {
        mecha: (seconds) => secured.round(seconds),
        yardstick: (seconds) => httpRound(nginx.pid, { port: nginx.port, path: "/hello" }, seconds),
      });
      const againstPlain = await takeTurns(settings, {
        mecha: (seconds) => governed.round(seconds),
        yardstick: (seconds) => plain.round(seconds),
      });
      return [
        ratioLine("invoke through two runtimes, mTLS", 3.5, "nginx, one hop", againstNginx),
        ratioLine("two runtimes with policies", 1.25, "without", againstPlain),
      ];
    }),
} satisfies Bench;
