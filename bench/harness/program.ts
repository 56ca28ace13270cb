// Starts the processes of a bench: yardsticks, applications, load generators, mecha itself.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bunPath, toolEnvironment } from "../../scripts/install.mjs";

const startTimeoutMs = 20_000;

export interface Program {
  pid: number;
  port: number;
  stop(): Promise<void>;
}

/** Runs a file of bench/harness/programs on Bun; it prints the port on which it listens as its first line. */
export async function startProgram(name: string, args: string[] = []): Promise<Program> {
  const file = join(import.meta.dirname, "programs", `${name}.ts`);
  const child = spawn(bunPath, [file, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await firstLine(child, name);
  return { pid: child.pid ?? 0, port: Number(line), stop: () => end(child) };
}

/** Runs a file of bench/harness/programs to its end and returns what it printed. */
export async function runProgram(name: string, args: string[]): Promise<string> {
  return run(bunPath, [join(import.meta.dirname, "programs", `${name}.ts`), ...args]);
}

/** Runs a program to its end; rejects when it fails. */
export async function run(command: string, args: string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: toolEnvironment() });
  let out = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk;
  });
  const code = await new Promise((done, fail) => child.once("close", done).once("error", fail));
  if (code !== 0) throw new Error(`${command} ended with ${code}\n${errors || out}`);
  return out;
}

function firstLine(child: ChildProcess, name: string): Promise<string> {
  return new Promise((done, fail) => {
    let text = "";
    const timer = setTimeout(() => fail(new Error(`${name} printed no port`)), startTimeoutMs);
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk;
      if (!text.includes("\n")) return;
      clearTimeout(timer);
      done(text.split("\n")[0] as string);
    });
    child.once("exit", (code) => fail(new Error(`${name} ended with ${code}`)));
    child.once("error", fail);
  });
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
  child.kill("SIGTERM");
  await ended;
  clearTimeout(late);
}

export interface LoggedProgram {
  child: ChildProcess;
  pid: number;
  folder: string;
  log(): string;
  stop(): Promise<void>;
}

/** Starts a command with its output in a file of its own temporary folder. */
export function startLogged(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): LoggedProgram {
  const folder = mkdtempSync(join(tmpdir(), "mecha-bench-"));
  const file = join(folder, "output.log");
  const log = openSync(file, "a");
  const child = spawn(command, args, {
    cwd: folder,
    stdio: ["ignore", log, log],
    env: { ...toolEnvironment(), MECHA_HOME: join(folder, "data"), ...env },
  });
  closeSync(log);
  return {
    child,
    pid: child.pid ?? 0,
    folder,
    log: () => readFileSync(file, "utf8"),
    stop: async () => {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The status of `GET path`, or 0 when nobody answers. A bare socket: the quickest way to ask often. */
export function statusOf(port: number, path: string): Promise<number> {
  return new Promise((done) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    socket.on("connect", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`),
    );
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
      if (status === undefined) return;
      done(Number(status));
      socket.destroy();
    });
    socket.on("error", () => done(0));
    socket.on("close", () => done(0));
  });
}
