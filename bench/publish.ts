import { startService } from "../scripts/services.ts";
import { type Bench, type Round, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { type HttpLoad, httpRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { cpuUs } from "./harness/proc.ts";
import { startProgram } from "./harness/program.ts";
import { value } from "./harness/state.ts";

const drainTimeoutMs = 120_000;

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
        mecha: (seconds) => publishRound(mecha.pid, publishLoad(mecha.httpPort), app.port, seconds),
        yardstick: (seconds) => httpRound(nginx.pid, publishLoad(nginx.port), seconds),
      });
      return [ratioLine("publish → app → ack, HTTP, durable", 8, "nginx proxy_pass", rounds)];
    }),
} satisfies Bench;

function publishLoad(port: number): HttpLoad {
  const headers = { "content-type": "application/json" };
  return {
    port,
    path: "/v1.0/publish/pubsub/bench",
    method: "POST",
    headers,
    body: JSON.stringify({ value }),
  };
}

/** The round ends when the app has got every message, and is divided by messages delivered. */
async function publishRound(pid: number, load: HttpLoad, appPort: number, seconds: number): Promise<Round> {
  const cpuBefore = cpuUs(pid);
  const countBefore = await deliveredCount(appPort);
  const startedMs = performance.now();
  const { requests } = await httpRound(pid, load, seconds);
  const delivered = await drained(appPort, countBefore + requests);
  return {
    requests: delivered - countBefore,
    cpuUs: cpuUs(pid) - cpuBefore,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

/** Waits for the messages that were acknowledged, and for those under way when the load ended. */
async function drained(appPort: number, wanted: number): Promise<number> {
  const deadline = Date.now() + drainTimeoutMs;
  for (let last = -1; ; ) {
    const count = await deliveredCount(appPort);
    if (count >= wanted && count === last) return count;
    if (Date.now() > deadline) throw new Error(`${count} of ${wanted} messages were delivered`);
    last = count;
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function deliveredCount(appPort: number): Promise<number> {
  return Number(await (await fetch(`http://127.0.0.1:${appPort}/count`)).text());
}
