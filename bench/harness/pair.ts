// Two runtimes that find each other, the caller's and the callee's, as two apps on one machine have them.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Round } from "./bench.ts";
import { httpRound } from "./load.ts";
import { type Mecha, startMecha } from "./mecha.ts";
import { cpuUs } from "./proc.ts";

export interface Pair {
  /** Calls the callee's app through both; the CPU is that of both. */
  round(seconds: number): Promise<Round>;
  stop(): Promise<void>;
}

export interface PairOptions {
  appPort: number;
  /** Of both. */
  flags?: string[];
  /** YAML that both load. */
  resources?: string;
}

const path = "/v1.0/invoke/callee/method/hello";

export async function startPair({ appPort, flags = [], resources = "" }: PairOptions): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-pair-"));
  const resourcesFolder = join(folder, "resources");
  mkdirSync(resourcesFolder);
  writeFileSync(join(resourcesFolder, "all.yaml"), resources);
  const shared = ["--data-dir", join(folder, "data"), "--resources-path", resourcesFolder, ...flags];
  const started: Mecha[] = [];
  const stop = async (): Promise<void> => {
    for (const one of started) await one.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const callee = await startMecha({ as: "callee", appPort, flags: shared });
    started.push(callee);
    const caller = await startMecha({ as: "caller", flags: shared });
    started.push(caller);
    const round = async (seconds: number): Promise<Round> => {
      const before = cpuUs(callee.pid);
      const measured = await httpRound(caller.pid, { port: caller.httpPort, path }, seconds);
      return { ...measured, cpuUs: measured.cpuUs + cpuUs(callee.pid) - before };
    };
    return { round, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
