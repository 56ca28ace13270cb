/**
 * Kills processes that work on a store at random moments and checks that nothing promised is lost.
 * `bun test/fault/store-crash/run.ts --rounds 1000 --seed 7` runs as many rounds as wanted.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Random } from "../../../src/edges/random.ts";
import { seededRandom } from "../../../src/edges/simulated.ts";
import { type CrashHome, type MakeHome, sqliteHome } from "./home.ts";
import { type Entry, Journal } from "./journal.ts";
import { verify, verifyDrained } from "./verify.ts";

export interface CrashReport {
  rounds: number;
  kills: number;
  /** Of the server, where there is one. */
  serverKills: number;
  acknowledged: number;
  faults: string[];
}

/** After so many rounds the store is drained and a new one begun. */
const roundsPerHome = 10;

export async function runCrashRounds(
  rounds: number,
  seed: number,
  makeHome: MakeHome = sqliteHome,
): Promise<CrashReport> {
  const random = seededRandom(seed);
  const report: CrashReport = { rounds: 0, kills: 0, serverKills: 0, acknowledged: 0, faults: [] };
  while (report.rounds < rounds && report.faults.length === 0) {
    const home = await makeHome();
    const journal = new Journal();
    const inThisHome = Math.min(roundsPerHome, rounds - report.rounds);
    for (let round = 0; round < inThisHome && report.faults.length === 0; round++) {
      await crashOnce(home, journal, report, random);
      await home.settled?.();
      report.faults.push(...(await verify(home, journal)));
      report.rounds += 1;
    }
    if (report.faults.length === 0) report.faults.push(...(await verifyDrained(home, journal)));
    report.acknowledged += journal.acknowledged;
    if (report.faults.length === 0) await home.remove();
    else report.faults.push(`round ${report.rounds}, seed ${seed}, ${home.place}`);
  }
  return report;
}

/** One or two children at work; each is killed at a moment of its own, and sometimes the server before. */
async function crashOnce(
  home: CrashHome,
  journal: Journal,
  report: CrashReport,
  random: Random,
): Promise<void> {
  const name = `r${report.rounds}`;
  const names = random.next() < 0.4 ? [`${name}a`, `${name}b`] : [`${name}a`];
  const serverDelayMs = 150 + random.next() * 300;
  const crashServer = report.rounds === 0 || random.next() < 0.6 ? home.crashServer : undefined;
  const plans = names.map((child) => ({
    child,
    seed: Math.floor(random.next() * 2 ** 31),
    lifeMs: (crashServer ? 1000 : 20) + random.next() ** 2 * 400,
  }));
  const children = Promise.all(plans.map((plan) => crashChild(home.place, journal, plan)));
  if (crashServer) {
    await Bun.sleep(serverDelayMs);
    await crashServer();
    report.serverKills += 1;
  }
  await children;
  report.kills += names.length;
}

async function crashChild(
  place: string,
  journal: Journal,
  plan: { child: string; seed: number; lifeMs: number },
): Promise<void> {
  const script = join(import.meta.dir, "child.ts");
  const child = Bun.spawn([process.execPath, script, place, plan.child, String(plan.seed)], {
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
