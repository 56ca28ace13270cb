import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, type Line, median, type Settings } from "./harness/bench.ts";
import { type Mecha, startMecha } from "./harness/mecha.ts";
import { cpuUs, residentBytes } from "./harness/proc.ts";
import { type Program, runProgram, startProgram } from "./harness/program.ts";
import { drainEngine } from "./harness/timers-engine.ts";

const pending = 1_000_000;
const pendingMbMax = 400;
const idleMs = 20_000;
const idlePercentMax = 1;
const restartMsMax = 3000;
const firesPerSecond = 1000;
const lateMsMax = 25;
const dueAtOnce = 100_000;
const drainMsMax = (dueAtOnce / 20_000) * 1000;
/** Jobs are set this long before the first is due; 100,000 take 3 s. */
const headStartMs = 12_000;
const firedTimeoutMs = 120_000;
const yearMs = 365 * 24 * 3600_000;

/**
 * Jobs of a runtime process on the embedded store, each step fsynced, set and fired over HTTP; and, as the measure of the
 * engine's own work, drained without a runtime and an app around it.
 */
export default {
  name: "timers",
  async run(settings) {
    const bench = new TimersBench(settings);
    try {
      await bench.start();
      return [
        ...(await bench.pendingLines()),
        ...(await bench.fireLines()),
        await drainEngine(settings, dueAtOnce),
      ];
    } finally {
      await bench.stop();
    }
  },
} satisfies Bench;

class TimersBench {
  readonly #settings: Settings;
  readonly #folder = mkdtempSync(join(tmpdir(), "mecha-bench-timers-"));
  #app: Program | undefined;
  #mecha: Mecha | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async start(): Promise<void> {
    this.#app = await startProgram("job-app");
    this.#mecha = await this.#startMecha();
  }

  async stop(): Promise<void> {
    await this.#mecha?.stop();
    await this.#app?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What a million pending jobs cost who has set them, and who finds them in the store. */
  async pendingLines(): Promise<Line[]> {
    const { say } = this.#settings;
    const setS = await this.#set("pending", pending, Date.now() + yearMs, 1000);
    say(`${pending} jobs set in ${setS.toFixed(1)} s`);
    const setMb = this.#residentMb();
    // Due while the runtime is away.
    await this.#set("restart", 1, Date.now() + 200, 0);
    await this.#kill();
    await Bun.sleep(300);
    const startedMs = Date.now();
    this.#mecha = await this.#startMecha();
    const { firstAtMs } = await this.#untilFired("restart", 1);
    const cpuBefore = cpuUs(this.#pid());
    await Bun.sleep(idleMs);
    const idlePercent = ((cpuUs(this.#pid()) - cpuBefore) / 1000 / idleMs) * 100;
    const foundMb = this.#residentMb();
    const inMemory = `${pending} pending jobs; ${Math.round(foundMb)} MB after a restart, ${Math.round(pending / setS)}/s set`;
    return [
      line("timers: memory", inMemory, Math.max(setMb, foundMb), "MB", pendingMbMax),
      line(
        "timers: idle",
        `CPU over ${idleMs / 1000} s, ${pending} pending jobs`,
        idlePercent,
        "%",
        idlePercentMax,
      ),
      line(
        "timers: restart",
        "kill -9, start, first due job at its app",
        firstAtMs - startedMs,
        "ms",
        restartMsMax,
      ),
    ];
  }

  /** While the million is pending. */
  async fireLines(): Promise<Line[]> {
    const { secondsPerRound, rounds, say } = this.#settings;
    const count = firesPerSecond * secondsPerRound * rounds;
    await this.#set("late", count, Date.now() + headStartMs, 1000 / firesPerSecond);
    const late = await this.#untilFired("late", count);
    say(`${count} fires: ${JSON.stringify(late)}`);
    const drains: number[] = [];
    const costs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const dueMs = Date.now() + headStartMs;
      await this.#set(`drain${round}`, dueAtOnce, dueMs, 0);
      if (Date.now() > dueMs) throw new Error("setting the jobs took longer than until they were due");
      await Bun.sleep(dueMs - Date.now() - 20);
      const cpuBefore = cpuUs(this.#pid());
      const { lastAtMs } = await this.#untilFired(`drain${round}`, dueAtOnce);
      drains.push(lastAtMs - dueMs);
      costs.push((cpuUs(this.#pid()) - cpuBefore) / dueAtOnce);
      say(`round ${round + 1}: ${dueAtOnce} jobs in ${Math.round(lastAtMs - dueMs)} ms`);
    }
    const ms = median(drains);
    const early = `${late.early} early, p50 ${late.lateP50Ms.toFixed(1)} ms`;
    const drained = `${Math.round(dueAtOnce / (ms / 1000))}/s to an app over HTTP, ${median(costs).toFixed(1)} us CPU each`;
    return [
      line("timers: lateness", `p99 at ${firesPerSecond} fires/s, ${early}`, late.lateP99Ms, "ms", lateMsMax),
      line("timers: drain", `${drained}, ${dueAtOnce} due at once`, ms, "ms", drainMsMax),
    ];
  }

  async #set(prefix: string, count: number, fromMs: number, everyMs: number): Promise<number> {
    const port = this.#mecha?.httpPort ?? 0;
    return Number(await runProgram("job-load", [port, prefix, count, fromMs, everyMs].map(String)));
  }

  async #untilFired(prefix: string, count: number): Promise<Fires> {
    for (const endMs = performance.now() + firedTimeoutMs; performance.now() < endMs; ) {
      const fires = (await (await fetch(`http://127.0.0.1:${this.#app?.port}/${prefix}`)).json()) as Fires;
      if (fires.count > count) throw new Error(`${fires.count - count} jobs fired twice`);
      if (fires.count === count) return fires;
      await Bun.sleep(50);
    }
    throw new Error(`not all ${count} jobs called ${prefix} were fired within ${firedTimeoutMs / 1000} s`);
  }

  #startMecha(): Promise<Mecha> {
    return startMecha({ appPort: this.#app?.port ?? 0, flags: ["--data-dir", this.#folder] });
  }

  async #kill(): Promise<void> {
    process.kill(this.#pid(), "SIGKILL");
    await this.#mecha?.stop();
  }

  #pid(): number {
    return this.#mecha?.pid ?? 0;
  }

  #residentMb(): number {
    return residentBytes(this.#pid()) / 1e6;
  }
}

/** What the app of the bench tells of the jobs with a prefix. */
interface Fires {
  count: number;
  firstAtMs: number;
  lastAtMs: number;
  lateP50Ms: number;
  lateP99Ms: number;
  early: number;
}

function line(name: string, figure: string, value: number, unit: Line["unit"], target: number): Line {
  return { name, figure, value, unit, target };
}
