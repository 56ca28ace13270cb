// `npm run bench [-- NAME… --json --rounds N --seconds N --verbose --profile]`: every bench, or those named; a line each.
import { readdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { installServices } from "../scripts/services.ts";
import type { Bench, Line, Settings } from "./harness/bench.ts";
import { profileFolder } from "./harness/mecha.ts";

/** In the order of the table in README.md; a file that is not named here comes last. */
const order = [
  "invoke",
  "get-state",
  "save-state",
  "get-state-grpc",
  "publish",
  "actors",
  "workflow",
  "start",
  "memory",
  "latency",
  "proxy-grpc",
  "stream",
  "connections",
  "overload",
  "components",
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "4" },
    verbose: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
  },
});

const names = benchNames();
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`no bench is called ${unknown.join(", ")}\nhint: the benches are ${names.join(", ")}`);
  process.exit(2);
}
if (values.profile) {
  process.env.MECHA_BENCH_PROFILE = "1";
  console.error(`CPU profiles of the runtime come to ${profileFolder}; its figures are higher meanwhile`);
}
await installServices(["nginx", "wrk", "envoy"]);
process.exit((await runAll(positionals.length > 0 ? positionals : names)) ? 0 : 1);

function benchNames(): string[] {
  const files = readdirSync(import.meta.dirname).filter(
    (name) => name.endsWith(".ts") && !name.endsWith(".test.ts"),
  );
  const found = files.map((name) => name.replace(/\.ts$/, "")).filter((name) => name !== "main");
  const rank = (name: string) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  return found.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** False when a bench could not be run. A target that is missed is a result, not a failure. */
async function runAll(chosen: string[]): Promise<boolean> {
  let isWhole = true;
  if (!values.json) console.log(row("bench", "figure", "value", "target", ""));
  for (const name of chosen) {
    const bench = ((await import(`./${name}.ts`)) as { default: Bench }).default;
    try {
      for (const line of await bench.run(settings(name))) print(name, line);
    } catch (error) {
      isWhole = false;
      console.error(`${name}: ${(error as Error).message}`);
    }
  }
  return isWhole;
}

function settings(name: string): Settings {
  const say = values.verbose ? (text: string) => console.error(`  ${name}: ${text}`) : () => {};
  return {
    rounds: Math.max(1, Number(values.rounds)),
    secondsPerRound: Math.max(1, Number(values.seconds)),
    say,
  };
}

function print(bench: string, { name, figure, value, unit, target }: Line): void {
  const verdict = target === undefined ? "" : value <= target ? "ok" : "short";
  if (values.json) {
    console.log(
      JSON.stringify({ bench, name, figure, value: Number(value.toFixed(3)), unit, target, verdict }),
    );
    return;
  }
  const amount = unit === "x" ? `${value.toFixed(2)} x` : `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`;
  console.log(row(name, figure, amount, target === undefined ? "" : `<= ${target} ${unit}`, verdict));
}

function row(name: string, figure: string, value: string, target: string, verdict: string): string {
  return `${name.padEnd(38)} ${figure.padEnd(66)} ${value.padStart(9)} ${target.padStart(10)}  ${verdict}`;
}
