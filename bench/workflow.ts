import { type Bench, type Line, median, percentile, type Settings } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { startMecha } from "./harness/mecha.ts";
import { cpuUs } from "./harness/proc.ts";
import { startWorkflowLoad, type WorkflowLoad, workflowLanguages } from "./harness/workflow-load.ts";

const parallel = 16;
/** More at once than keep the runtime busy: what is left is how fast the worker is. */
const parallelMost = 64;
/** About as many as are done in a second. */
const perSecond = { javascript: 400, python: 150, go: 800 };
const alonePerSecond = 50;

/**
 * A chain of three activities, worker and client of an SDK in one process, everything fsynced: a runtime and a store for
 * each language, the same through all rounds.
 */
export default {
  name: "workflow",
  async run(settings) {
    const lines: Line[] = [];
    for (const language of workflowLanguages) {
      const measured = withStarted(async (keep) => {
        const mecha = await keep(startMecha());
        const load = await keep(startWorkflowLoad(language, mecha.grpcPort));
        return measure(settings, mecha.pid, load);
      });
      lines.push(...(await measured));
    }
    return lines;
  },
} satisfies Bench;

async function measure(settings: Settings, pid: number, load: WorkflowLoad): Promise<Line[]> {
  const { rounds, secondsPerRound, say } = settings;
  const { language } = load;
  const count = secondsPerRound * perSecond[language];
  await load.run(count, parallel);
  const taken: Round[] = [];
  for (let index = 0; index < rounds; index++) {
    const alone = await load.run(secondsPerRound * alonePerSecond, 1);
    const round = { waitMs: percentile(alone, 0.5), ...(await busyRound(pid, load, count, parallel)) };
    taken.push(round);
    say(`${language}, round ${index + 1}: ${JSON.stringify(round)}`);
  }
  const most = await busyRound(pid, load, count, parallelMost);
  const of = (field: keyof Round) => median(taken.map((round) => round[field]));
  const steady = ((taken.at(-1)?.rate ?? 0) / (taken[0]?.rate ?? 1)) * 100;
  const cores = (round: Busy) =>
    `worker ${((round.workerMs * round.rate) / 1000).toFixed(2)} cores, runtime ${((round.costMs * round.rate) / 1000).toFixed(2)}`;
  const busy = `${Math.round(of("rate"))}/s with ${parallel} at once, ${Math.round(most.rate)}/s with ${parallelMost}: ${cores(most)}`;
  const name = `workflow, ${language}`;
  return [
    { name: `${name}: runtime CPU`, figure: busy, value: of("costMs"), unit: "ms", target: 1 },
    { name: `${name}: p50`, figure: "one at a time", value: of("waitMs"), unit: "ms", target: 6 },
    {
      name: `${name}: slowdown`,
      figure: `last round ${steady.toFixed(0)} % of the first`,
      value: Math.max(0, 100 - steady),
      unit: "%",
      target: 5,
    },
  ];
}

/** What each workflow cost, and how many there were a second. */
interface Busy {
  costMs: number;
  workerMs: number;
  rate: number;
}

interface Round extends Busy {
  waitMs: number;
}

async function busyRound(pid: number, load: WorkflowLoad, count: number, atOnce: number): Promise<Busy> {
  const before = { own: cpuUs(pid), worker: cpuUs(load.pid), atMs: performance.now() };
  await load.run(count, atOnce);
  const rate = (count / (performance.now() - before.atMs)) * 1000;
  const each = (us: number) => us / count / 1000;
  return { costMs: each(cpuUs(pid) - before.own), workerMs: each(cpuUs(load.pid) - before.worker), rate };
}
