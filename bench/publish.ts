import { startService } from "../scripts/services.ts";
import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { publishLoad, publishRound } from "./harness/deliver.ts";
import { httpRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";
import { value } from "./harness/state.ts";

/** Publish, store durably, deliver to the app, take its acknowledgement: all CPU of the runtime, per message. */
export default {
  name: "publish",
  run: (settings) =>
    withStarted(async (keep) => {
      const echo = await keep(startProgram("http-echo"));
      const nginx = await keep(startService("nginx", { options: { upstream: `127.0.0.1:${echo.port}` } }));
      const app = await keep(startProgram("subscriber"));
      const mecha = await keep(startMecha({ appPort: app.port }));
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => publishRound(mecha.pid, publishLoad(mecha.httpPort, value), app.port, seconds),
        yardstick: (seconds) => httpRound(nginx.pid, publishLoad(nginx.port, value), seconds),
      });
      return [ratioLine("publish → app → ack, HTTP, durable", 8, "nginx proxy_pass", rounds)];
    }),
} satisfies Bench;
