import { startService } from "../scripts/services.ts";
import { type Bench, type Line, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";

const yardsticks = [
  { service: "nginx", name: "nginx proxy_pass", target: 1.5 },
  { service: "envoy", name: "Envoy, one worker", target: 1 },
];

/** A client calls an app through the app's own runtime; proxies before the same app are the yardsticks. */
export default {
  name: "invoke",
  run: (settings) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha({ appPort: app.port }));
      const path = `/v1.0/invoke/${appId}/method/hello`;
      const lines: Line[] = [];
      for (const { service, name, target } of yardsticks) {
        const proxy = await keep(startService(service, { options: { upstream: `127.0.0.1:${app.port}` } }));
        const rounds = await takeTurns(settings, {
          mecha: (seconds) => httpRound(mecha.pid, { port: mecha.httpPort, path }, seconds),
          yardstick: (seconds) => httpRound(proxy.pid, { port: proxy.port, path: "/hello" }, seconds),
        });
        lines.push(ratioLine(`invoke own app, HTTP, against ${service}`, target, name, rounds));
      }
      return lines;
    }),
} satisfies Bench;
