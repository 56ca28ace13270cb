import { startService } from "../scripts/services.ts";
import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { httpRound } from "./harness/load.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";

/** A client calls an app through the app's own runtime; nginx as a proxy before the same app is the yardstick. */
export default {
  name: "invoke",
  run: (settings) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("http-echo"));
      const nginx = await keep(startService("nginx", { options: { upstream: `127.0.0.1:${app.port}` } }));
      const mecha = await keep(startMecha({ appPort: app.port }));
      const path = `/v1.0/invoke/${appId}/method/hello`;
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => httpRound(mecha.pid, { port: mecha.httpPort, path }, seconds),
        yardstick: (seconds) => httpRound(nginx.pid, { port: nginx.port, path: "/hello" }, seconds),
      });
      return [ratioLine("invoke own app, HTTP", 2.0, "nginx proxy_pass", rounds)];
    }),
} satisfies Bench;
