import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { grpcRound } from "./harness/load.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";

const message = new Uint8Array(128);
const path = "/bench.Echo/Say";

/** A unary call of an app's own service, proxied by its runtime; the app alone is the yardstick. */
export default {
  name: "proxy-grpc",
  run: (settings) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("grpc-echo"));
      const mecha = await keep(startMecha({ appPort: app.port, flags: ["--app-protocol", "grpc"] }));
      const through = { port: mecha.grpcPort, path, message, metadata: { "dapr-app-id": appId } };
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => grpcRound(mecha.pid, through, seconds),
        yardstick: (seconds) => grpcRound(app.pid, { port: app.port, path, message }, seconds),
      });
      return [ratioLine("proxied unary call, gRPC", 2, "http2 echo", rounds)];
    }),
} satisfies Bench;
