import { parseArgs } from "node:util";
import { simulate } from "./run.ts";

const usage = `npm run simulate -- [--seeds N] [--seed S] [--hosts N] [--workflows N] [--jobs N]

Runs the engine on simulated hosts, clocks, disks and networks, once for each seed from S on (at random without
--seed; 1000 of them without --seeds). Ends with 1 at the first run in which something was not right.`;

const number = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    ...{ seeds: number, seed: number, hosts: number, workflows: number, jobs: number },
    help: { type: "boolean", short: "h" },
  },
});

if (values.help) {
  console.log(usage);
} else {
  const first = whole("seed", Math.floor(Math.random() * 1e9));
  await runAll(first, whole("seeds", 1000));
}

async function runAll(first: number, seeds: number): Promise<void> {
  const sizes = { hosts: whole("hosts", 3), workflows: whole("workflows", 12), jobs: whole("jobs", 8) };
  const startedMs = performance.now();
  const sums = { disturbances: 0, commits: 0 };
  for (let index = 0; index < seeds; index++) {
    const seed = first + index;
    const { faults, disturbances, commits, trace } = await simulate({ seed, ...sizes });
    sums.disturbances += disturbances;
    sums.commits += commits;
    if (faults.length > 0) {
      console.error(`seed ${seed} (trace ${trace.slice(0, 12)}):`);
      for (const fault of faults) console.error(`  ${fault}`);
      console.error(`again: npm run simulate -- --seeds 1 --seed ${seed}`);
      process.exitCode = 1;
      return;
    }
    if ((index + 1) % 500 === 0) console.log(`${index + 1} of ${seeds} seeds`);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const { disturbances, commits } = sums;
  console.log(`seeds ${first} to ${first + seeds - 1}: all is right, in ${seconds} s`);
  console.log(`${disturbances} crashes, pauses and lost workers; ${commits} commits`);
}

function whole(name: "seeds" | "seed" | "hosts" | "workflows" | "jobs", preset: number): number {
  const text = values[name];
  if (text === undefined) return preset;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > (name === "seed" ? -1 : 0)) return value;
  console.error(`--${name} has to be a whole number, not "${text}"`);
  process.exit(2);
}
