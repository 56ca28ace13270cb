// Starts mecha as its users do, as a process, and reads what it prints.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../scripts/free-port.ts";
import { bunPath } from "../scripts/install.mjs";
import { testStore } from "../src/testing/test-store.ts";

export { freePort };

export const root = resolve(import.meta.dirname, "..");
const deadlineMs = 20_000;

export interface MechaProcess {
  readonly child: ChildProcess;
  /** Everything printed so far, stdout and stderr. */
  output(): string;
  /** Resolves when the text was printed. */
  printed(text: string | RegExp): Promise<void>;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
}

export interface MechaOptions {
  env?: Record<string, string>;
  folder?: string;
}

/** Runs `mecha WORDS…` from source with exactly the given environment. */
export function startMecha(words: string[], options: MechaOptions = {}): MechaProcess {
  const child = spawn(bunPath, [join(root, "src/main.ts"), ...words], {
    env: { ...storeOf(words), ...options.env },
    cwd: options.folder ?? "/",
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const keep = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const ended = new Promise<number | string>((done) =>
    child.once("close", (code, signal) => done(code ?? signal ?? "")),
  );
  return {
    child,
    ended,
    output: () => text,
    printed: (wanted) =>
      eventually(() => {
        const isThere = typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
        if (!isThere) throw new Error(`"${wanted}" was not printed; printed:\n${text.slice(-4000)}`);
      }),
  };
}

/** Processes that name one data folder share a store, whichever home it has. */
function storeOf(words: readonly string[]): Record<string, string> {
  const index = words.indexOf("--data-dir");
  const store = index < 0 ? undefined : testStore(words[index + 1] ?? "");
  return store === undefined ? {} : { MECHA_STORE: store };
}

/** Runs a command to its end. */
export async function mecha(
  words: string[],
  options: MechaOptions = {},
): Promise<{ code: number | string; output: string }> {
  const started = startMecha(words, options);
  const code = await started.ended;
  return { code, output: started.output() };
}

/** Repeats until it does not throw; throws the last error after the deadline. */
export async function eventually<T>(work: () => T | Promise<T>, withinMs = deadlineMs): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await Bun.sleep(20);
    }
  }
}

/** Things to clean up after a test, in reverse order. */
export class Cleanup {
  private readonly works: (() => unknown)[] = [];
  add(work: () => unknown): void {
    this.works.push(work);
  }
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), "mecha-test-"));
    this.add(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }
  /** Kills the process at the end when it still runs. */
  process(started: MechaProcess): MechaProcess {
    this.add(async () => {
      if (started.child.exitCode === null && started.child.signalCode === null) started.child.kill("SIGTERM");
      const timer = setTimeout(() => started.child.kill("SIGKILL"), 8000);
      await started.ended;
      clearTimeout(timer);
    });
    return started;
  }
  async run(): Promise<void> {
    for (const work of this.works.reverse()) await work();
    this.works.length = 0;
  }
}

export interface SidecarOptions extends MechaOptions {
  appId: string;
  /** Resource files. */
  resources: string;
  data: string;
  /** More flags of `mecha run`. */
  words?: string[];
}

/** A runtime process for one app, on free ports. */
export async function startSidecar({ appId, resources, data, words = [], ...options }: SidecarOptions) {
  const [httpPort, grpcPort] = [await freePort(), await freePort()];
  const flags = {
    "app-id": appId,
    "dapr-http-port": httpPort,
    "dapr-grpc-port": grpcPort,
    "metrics-port": 0,
    "resources-path": resources,
    "data-dir": data,
  };
  const all = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return { process: startMecha(["run", ...all, ...words], options), httpPort, grpcPort };
}
