import { freePort } from "../scripts/free-port.ts";
import { type Bench, median } from "./harness/bench.ts";
import { builtMecha, launchMecha, untilHealthy } from "./harness/mecha.ts";

const startsPerRound = 5;

/** From the start of the built executable to the first 204 of its health endpoint, each time with a new data folder. */
export default {
  name: "start",
  async run({ rounds, say }) {
    const program = await builtMecha(say);
    const tookMs: number[] = [];
    for (let index = 0; index < rounds * startsPerRound; index++) {
      const ports = { httpPort: await freePort(), grpcPort: await freePort() };
      const startedMs = performance.now();
      const running = launchMecha(ports, { program });
      await untilHealthy(running, ports.httpPort);
      tookMs.push(performance.now() - startedMs);
      await running.stop();
    }
    const [least, most] = [Math.min(...tookMs), Math.max(...tookMs)];
    const figure = `${median(tookMs).toFixed(0)} ms, between ${least.toFixed(0)} and ${most.toFixed(0)} in ${tookMs.length} starts`;
    return [
      { name: "start to healthz 204, executable", figure, value: median(tookMs), unit: "ms", target: 150 },
    ];
  },
} satisfies Bench;
