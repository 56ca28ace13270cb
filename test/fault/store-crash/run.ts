/**
 * Kills processes that work on a store at random moments and checks that nothing promised is lost.
 * `bun test/fault/store-crash/run.ts --rounds 1000 --seed 7` runs as many rounds as wanted.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Random } from "../../../src/edges/random.ts";
import { seededRandom } from "../../../src/edges/simulated.ts";
import { type Entry, Journal } from "./journal.ts";
import { verify, verifyDrained } from "./verify.ts";

export interface CrashReport {
  rounds: number;
  kills: number;
  acknowledged: number;
  faults: string[];
}

/** After so many rounds the folder is drained and a new one begun. */
const roundsPerFolder = 10;

export async function runCrashRounds(rounds: number, seed: number): Promise<CrashReport> {
  const random = seededRandom(seed);
  const report: CrashReport = { rounds: 0, kills: 0, acknowledged: 0, faults: [] };
  while (report.rounds < rounds && report.faults.length === 0) {
    const folder = await mkdtemp(join(tmpdir(), "mecha-crash-"));
    const journal = new Journal();
    const inThisFolder = Math.min(roundsPerFolder, rounds - report.rounds);
    for (let round = 0; round < inThisFolder && report.faults.length === 0; round++) {
      report.kills += await crashOnce(folder, journal, `r${report.rounds}`, random);
      report.faults.push(...(await verify(folder, journal)));
      report.rounds += 1;
    }
    if (report.faults.length === 0) report.faults.push(...(await verifyDrained(folder, journal)));
    report.acknowledged += journal.acknowledged;
    if (report.faults.length === 0) await rm(folder, { recursive: true, force: true });
    else report.faults.push(`round ${report.rounds}, seed ${seed}, folder ${folder}`);
  }
  return report;
}

/** One or two children at work; each is killed at a moment of its own. */
async function crashOnce(folder: string, journal: Journal, name: string, random: Random): Promise<number> {
  const names = random.next() < 0.4 ? [`${name}a`, `${name}b`] : [`${name}a`];
  const plans = names.map((child) => ({
    child,
    seed: Math.floor(random.next() * 2 ** 31),
    lifeMs: 20 + random.next() ** 2 * 400,
  }));
  await Promise.all(plans.map((plan) => crashChild(folder, journal, plan)));
  return names.length;
}

async function crashChild(
  folder: string,
  journal: Journal,
  plan: { child: string; seed: number; lifeMs: number },
): Promise<void> {
  const script = join(import.meta.dir, "child.ts");
  const child = Bun.spawn([process.execPath, script, folder, plan.child, String(plan.seed)], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const errors = new Response(child.stderr).text();
  let killer: NodeJS.Timeout | undefined;
  for await (const entry of entriesOf(child.stdout)) {
    if (entry.t === "ready") killer = setTimeout(() => child.kill("SIGKILL"), plan.lifeMs);
    journal.add(entry);
  }
  clearTimeout(killer);
  await child.exited;
  if (child.signalCode !== "SIGKILL")
    journal.broken.push(`child ${plan.child} ended by itself: ${await errors}`);
}

/** Whole lines only: the kill may cut the last one. */
async function* entriesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Entry> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Entry;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "50" },
      seed: { type: "string", default: String(Date.now() % 1e6) },
    },
  });
  console.log(`seed ${values.seed}`);
  const report = await runCrashRounds(Number(values.rounds), Number(values.seed));
  console.log(JSON.stringify(report, null, 2));
  process.exit(report.faults.length === 0 ? 0 : 1);
}
