import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { ParentGuard } from "./group-guard.ts";

export type RestartPolicy = "never" | "on-failure" | "always";

export interface ProcessSpec {
  name: string;
  command: readonly string[];
  folder: string;
  env: Record<string, string>;
  restart: RestartPolicy;
  /** Back-off after a crash: doubles from `backoffMs` to `backoffMaxMs`; reset after a minute of life. */
  backoffMs?: number;
  backoffMaxMs?: number;
  /** TERM, then KILL after this long. */
  stopTimeoutMs?: number;
  onLine: (line: string, stream: "stdout" | "stderr") => void;
  onState?: (state: ProcessState) => void;
}

export type ProcessState =
  | { name: "running"; pid: number }
  | { name: "backing-off"; delayMs: number; exit: string }
  | { name: "exited"; code: number; exit: string };

export interface Supervised {
  readonly pid: number | undefined;
  /** Resolves with the exit code once the process ended for good. */
  readonly ended: Promise<number>;
  /** Ends the process group: TERM, then KILL. */
  stop(): Promise<void>;
  /** Stops and starts it again (file watch). */
  restart(): Promise<void>;
}

const backoffResetMs = 60_000;
const stopTimeoutDefaultMs = 5_000;

/**
 * Runs one app process in a process group of its own, so that its children end with it, and so that it can be ended
 * with this process, also when that is killed.
 */
export function supervise(spec: ProcessSpec): Supervised {
  return new Supervisor(spec);
}

class Supervisor implements Supervised {
  readonly ended: Promise<number>;
  private readonly spec: ProcessSpec;
  private child: ChildProcess | undefined;
  private guard: ParentGuard | undefined;
  private exited: Promise<number> = Promise.resolve(0);
  private isStopping = false;
  private restarts = 0;
  private backoffTimer: ReturnType<typeof setTimeout> | undefined;
  private finish: (code: number) => void = () => undefined;

  constructor(spec: ProcessSpec) {
    this.spec = spec;
    this.ended = new Promise((resolve) => {
      this.finish = resolve;
    });
    this.start();
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.backoffTimer);
    await this.killGroup();
    this.finish(0);
  }

  async restart(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.backoffTimer);
    await this.killGroup();
    this.isStopping = false;
    this.restarts = 0;
    this.start();
  }

  private start(): void {
    const [program, ...words] = this.spec.command;
    if (program === undefined) throw new Error(`app ${this.spec.name} has an empty command`);
    const startedAt = Date.now();
    const guard = new ParentGuard(this.stopTimeoutMs);
    const child = spawn(program, words, {
      cwd: this.spec.folder,
      env: this.spec.env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child = child;
    if (child.pid === undefined) guard.end();
    else guard.guard(child.pid);
    this.guard = guard;
    this.exited = new Promise((resolve) => {
      let isStarted = true;
      child.once("error", (error) => {
        isStarted = false;
        this.spec.onLine(`could not start ${program}: ${error.message}`, "stderr");
        resolve(127);
        this.onExit(127, `could not start: ${error.message}`, startedAt);
      });
      child.once("close", (code, signal) => {
        if (!isStarted) return;
        const exit = code ?? 128 + signalNumber(signal);
        resolve(exit);
        this.onExit(exit, signal === null ? `exit code ${exit}` : `signal ${signal}`, startedAt);
      });
    });
    this.readLines(child);
    if (child.pid !== undefined) this.spec.onState?.({ name: "running", pid: child.pid });
  }

  private readLines(child: ChildProcess): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const input = child[stream];
      if (input !== null) createInterface({ input }).on("line", (line) => this.spec.onLine(line, stream));
    }
  }

  private onExit(code: number, exit: string, startedAt: number): void {
    this.child = undefined;
    this.guard?.end();
    if (this.isStopping) return;
    const { restart } = this.spec;
    if (restart === "never" || (restart === "on-failure" && code === 0)) {
      this.spec.onState?.({ name: "exited", code, exit });
      this.finish(code);
      return;
    }
    if (Date.now() - startedAt > backoffResetMs) this.restarts = 0;
    const delayMs = Math.min(
      (this.spec.backoffMs ?? 500) * 2 ** this.restarts++,
      this.spec.backoffMaxMs ?? 30_000,
    );
    this.spec.onState?.({ name: "backing-off", delayMs, exit });
    this.backoffTimer = setTimeout(() => this.start(), delayMs);
  }

  private get stopTimeoutMs(): number {
    return this.spec.stopTimeoutMs ?? stopTimeoutDefaultMs;
  }

  private async killGroup(): Promise<void> {
    const pid = this.child?.pid;
    if (pid === undefined) return;
    signalGroup(pid, "SIGTERM");
    const timer = setTimeout(() => signalGroup(pid, "SIGKILL"), this.stopTimeoutMs);
    await this.exited;
    clearTimeout(timer);
    // Children that outlived the leader of the group end too.
    signalGroup(pid, "SIGKILL");
  }
}

function signalGroup(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the whole group is gone already.
  }
}

function signalNumber(signal: string | null): number {
  return (
    { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }[signal ?? ""] ?? 0
  );
}
