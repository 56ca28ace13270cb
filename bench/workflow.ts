import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Bench, type Line, median, percentile, type Settings } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { startMecha } from "./harness/mecha.ts";
import { cpuUs } from "./harness/proc.ts";

const parallel = 16;
const perSecond = 100;

/** A chain of three activities, worker and client of the JavaScript SDK on Node, everything fsynced. */
export default {
  name: "workflow",
  run: (settings) =>
    withStarted(async (keep) => {
      const mecha = await keep(startMecha());
      const load = await keep(startLoad(mecha.grpcPort));
      return measure(settings, mecha.pid, load);
    }),
} satisfies Bench;

async function measure({ rounds, secondsPerRound, say }: Settings, pid: number, load: Load): Promise<Line[]> {
  await load.run(200, parallel);
  const costs: number[] = [];
  const rates: number[] = [];
  const waits: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const count = secondsPerRound * perSecond;
    const alone = await load.run(count / 4, 1);
    waits.push(percentile(alone, 0.5));
    const cpuBefore = cpuUs(pid);
    const startedMs = performance.now();
    await load.run(count, parallel);
    costs.push((cpuUs(pid) - cpuBefore) / count / 1000);
    rates.push((count / (performance.now() - startedMs)) * 1000);
    say(`round ${round + 1}: ${costs.at(-1)?.toFixed(2)} ms CPU, ${waits.at(-1)?.toFixed(1)} ms p50`);
  }
  const rate = `${Math.round(median(rates))}/s with ${parallel} at once`;
  const steady = (rates.at(-1) ?? 0) / (rates[0] ?? 1);
  const last = `last round ${(steady * 100).toFixed(0)} % of the first`;
  const cost = median(costs);
  const wait = median(waits);
  return [
    {
      name: "workflow of 3 activities, runtime CPU",
      figure: `${rate}, ${last}`,
      value: cost,
      unit: "ms",
      target: 1,
    },
    { name: "workflow of 3 activities, p50", figure: "one at a time", value: wait, unit: "ms", target: 6 },
  ];
}

interface Load {
  run(count: number, parallel: number): Promise<number[]>;
  stop(): Promise<void>;
}

/** On Node, as apps run the SDK. */
async function startLoad(grpcPort: number): Promise<Load> {
  const file = join(import.meta.dirname, "harness/programs/workflow-load.mjs");
  const child = spawn("node", [file, String(grpcPort)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  /** The SDK prints lines of its own. */
  const answer = async (isAnswer: (line: string) => boolean): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error("the load of the workflow bench ended");
      if (isAnswer(value)) return value;
    }
  };
  await answer((line) => line === "ready");
  return {
    async run(count, atOnce) {
      child.stdin.write(`${count} ${atOnce}\n`);
      return JSON.parse(await answer((line) => line.startsWith("["))) as number[];
    },
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
