import { type Bench, type Line, median, percentile } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { residentBytes } from "./harness/proc.ts";
import { runProgram, startProgram } from "./harness/program.ts";

const idleConnections = 10_000;
const requestsPerSecond = 1_000;
const activeConnections = 16;

/** What idle kept-alive connections cost the runtime: memory, and the latency of those who work meanwhile. */
export default {
  name: "connections",
  run: ({ rounds, secondsPerRound, say }) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha({ appPort: app.port }));
      const p99 = async (): Promise<number> => {
        const path = `/v1.0/invoke/${appId}/method/hello`;
        const load = [mecha.httpPort, path, requestsPerSecond, secondsPerRound, activeConnections];
        return percentile(JSON.parse(await runProgram("steady-load", load.map(String))) as number[], 0.99);
      };
      await p99();
      const alone: number[] = [];
      for (let index = 0; index < rounds; index++) alone.push(await p99());
      const before = residentBytes(mecha.pid);
      const args = [mecha.httpPort, "/v1.0/healthz", idleConnections].map(String);
      await keep(startProgram("idle-connections", args));
      const kibibytes = (residentBytes(mecha.pid) - before) / idleConnections / 1024;
      // What opening them left behind to collect is not theirs.
      await p99();
      const beside: number[] = [];
      for (let index = 0; index < rounds; index++) beside.push(await p99());
      say(`p99 alone ${alone.join(", ")} us, beside ${beside.join(", ")} us`);
      return [memoryLine(kibibytes), latencyLine(median(alone), median(beside))];
    }),
} satisfies Bench;

function memoryLine(value: number): Line {
  const figure = `${value.toFixed(1)} KiB for each of ${idleConnections}`;
  return { name: "idle keep-alive connection", figure, value, unit: "KiB", target: 20 };
}

function latencyLine(aloneUs: number, besideUs: number): Line {
  const figure = `p99 ${(besideUs / 1000).toFixed(2)} ms beside them, ${(aloneUs / 1000).toFixed(2)} ms alone`;
  return { name: "active traffic beside them", figure, value: besideUs / aloneUs, unit: "x", target: 2 };
}
