import { type Bench, type Line, median, percentile } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { appId, startMecha } from "./harness/mecha.ts";
import { runProgram, startProgram } from "./harness/program.ts";

const requestsPerSecond = 1000;
const connectionCount = 16;

/** What the hop through the runtime adds at a rate far from saturation: through it, minus straight to the app. */
export default {
  name: "latency",
  run: ({ rounds, secondsPerRound, say }) =>
    withStarted(async (keep) => {
      const app = await keep(startProgram("http-echo"));
      const mecha = await keep(startMecha({ appPort: app.port }));
      const invokePath = `/v1.0/invoke/${appId}/method/hello`;
      const added: { p50: number; p99: number }[] = [];
      await latencies(mecha.httpPort, invokePath, 2);
      for (let index = 0; index < rounds; index++) {
        const direct = await latencies(app.port, "/hello", secondsPerRound);
        const through = await latencies(mecha.httpPort, invokePath, secondsPerRound);
        const at = (share: number) => (percentile(through, share) - percentile(direct, share)) / 1000;
        added.push({ p50: at(0.5), p99: at(0.99) });
        say(`round ${index + 1}: p50 +${at(0.5).toFixed(2)} ms, p99 +${at(0.99).toFixed(2)} ms`);
      }
      return [
        line(
          "p50",
          0.4,
          added.map(({ p50 }) => p50),
        ),
        line(
          "p99",
          2,
          added.map(({ p99 }) => p99),
        ),
      ];
    }),
} satisfies Bench;

async function latencies(port: number, path: string, seconds: number): Promise<number[]> {
  const args = [port, path, requestsPerSecond, seconds, connectionCount].map(String);
  return JSON.parse(await runProgram("steady-load", args)) as number[];
}

function line(name: string, target: number, addedMs: number[]): Line {
  const value = median(addedMs);
  const figure = `+${value.toFixed(2)} ms at ${requestsPerSecond} requests/s`;
  return { name: `latency added by invoke, ${name}`, figure, value, unit: "ms", target };
}
