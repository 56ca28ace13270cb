// Things that take long to make and are kept under .tools: made once, by one process, with their output shown on failure.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { toolEnvironment } from "./install.mjs";
import { withLock } from "./lock.mjs";

const buildTimeoutMs = 15 * 60_000;
const toolFolders = [
  "/usr/local/bin",
  "/usr/bin",
  "/bin",
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  "/usr/local/go/bin",
  "/usr/lib/go/bin",
  "/opt/homebrew/bin",
];

export type Log = (text: string) => void;

/** Makes `folder` unless it was finished before; several processes may ask at once. */
export async function once(folder: string, label: string, make: (log: Log) => Promise<void>): Promise<void> {
  const done = join(folder, ".done");
  if (existsSync(done)) return;
  const onWait = () => tell(`${label}: waiting for another process`);
  await withLock(`${folder}.lock`, () => (existsSync(done) ? undefined : makeAnew(folder, label, make)), {
    waitMs: buildTimeoutMs,
    onWait,
  });
}

async function makeAnew(folder: string, label: string, make: (log: Log) => Promise<void>): Promise<void> {
  tell(label);
  const startedMs = Date.now();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  let output = "";
  try {
    await make((text) => {
      output = (output + text).slice(-20_000);
    });
  } catch (error) {
    const kept = `${folder}.failed`;
    rmSync(kept, { recursive: true, force: true });
    renameSync(folder, kept);
    const tail = output.split("\n").slice(-40).join("\n");
    throw new Error(`${label} failed: ${(error as Error).message}\n${tail}`, { cause: error });
  }
  writeFileSync(join(folder, ".done"), "");
  tell(`${label}: done in ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
}

export interface Execution {
  cwd?: string;
  env?: Record<string, string>;
  log: Log;
}

/** Runs a program to its end; rejects when it fails. */
export async function execute(command: string, args: string[], { cwd, env, log }: Execution): Promise<void> {
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: toolEnvironment(env),
    stdio: ["ignore", "pipe", "pipe"],
    timeout: buildTimeoutMs,
    killSignal: "SIGKILL",
  });
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => log(chunk.toString()));
  const code = await new Promise<number | string>((done, fail) => {
    child.once("error", fail);
    child.once("close", (status, signal) => done(status ?? signal ?? "?"));
  });
  if (code !== 0) throw new Error(`${basename(command)} ${args.slice(0, 3).join(" ")} … ended with ${code}`);
}

/** The absolute path of a tool: from PATH, or from where distributions and installers put it. */
export function findTool(name: string): string {
  const found = findToolOrNone(name);
  if (found === undefined) throw new Error(`${name} is not installed`);
  return found;
}

export function findToolOrNone(name: string): string | undefined {
  const home = toolEnvironment().HOME ?? "/";
  const own = [".cargo/bin", "go/bin"].map((folder) => join(home, folder));
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...toolFolders, ...own];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** A Python that is a real program: version managers' shims need a shell set up for them. */
export function findPython(): string {
  const candidates = ["/usr/bin/python3", "/usr/local/bin/python3", "/opt/homebrew/bin/python3"];
  return candidates.find((path) => existsSync(path)) ?? findTool("python3");
}

export function hashOf(parts: string[]): string {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(part).update("\0");
  return sum.digest("hex").slice(0, 16);
}

export function tell(line: string): void {
  process.stderr.write(`· ${line}\n`);
}
