// Servers for tests and benches: `scripts/services install|up NAME…`, `scripts/services down`, and as a library
// startService(). Each listens on loopback, on a free port, with everything it writes in a temporary folder.
import { type ChildProcess, spawn } from "node:child_process";
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execute, findTool } from "./build-once.ts";
import { freePort } from "./free-port.ts";
import { asProgram, InstallError, toolEnvironment, tools } from "./install.mjs";
import { installPackages, packageFolders } from "./service-packages.ts";
import type { Launch, Recipe } from "./services.d/recipe.ts";

const recipeFolder = join(import.meta.dirname, "services.d");
const runFolder = join(tools, "services");
/** A JVM that shares its cores with many takes a minute for what it does in six seconds alone. */
const readyTimeoutMs = 120_000;
const stopTimeoutMs = 10_000;

export interface Service {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
  readonly folder: string;
  readonly details: Readonly<Record<string, string | number>>;
  /** Ends it as its operator would, then removes its folder. */
  stop(): Promise<void>;
  /** kill -9, for fault tests; `start` brings it back on the same port with the same data. */
  kill(): Promise<void>;
  /** As at the end of a day; `start` brings it back as well. */
  shutDown(): Promise<void>;
  start(): Promise<void>;
}

export interface ServiceOptions {
  port?: number;
  options?: Record<string, string>;
}

export function serviceNames(): string[] {
  const names = readdirSync(recipeFolder).map((file) => file.replace(/\.ts$/, ""));
  return names.filter((name) => name !== "recipe").sort();
}

async function recipeOf(name: string): Promise<Recipe> {
  if (!serviceNames().includes(name)) {
    throw new InstallError(`no service is called ${name}`, `known: ${serviceNames().join(", ")}`);
  }
  return ((await import(`./services.d/${name}.ts`)) as { default: Recipe }).default;
}

export async function installServices(names: string[]): Promise<void> {
  await installPackages(await Promise.all(names.map(recipeOf)));
}

/** Installs when needed and starts a server that lives no longer than this process. */
export async function startService(name: string, options: ServiceOptions = {}): Promise<Service> {
  const prepared = await prepare(name, options);
  const running = new RunningService(prepared);
  await running.start();
  return running;
}

interface Prepared {
  name: string;
  port: number;
  folder: string;
  launch: Launch;
}

async function prepare(name: string, { port, options = {} }: ServiceOptions): Promise<Prepared> {
  const recipe = await recipeOf(name);
  await installPackages([recipe]);
  if (recipe.launch === undefined) throw new InstallError(`${name} is a tool, not a server`);
  const folder = mkdtempSync(join(tmpdir(), `mecha-${name}-`));
  const chosen = port ?? (await freePort());
  const launch = await recipe.launch({
    folder,
    port: chosen,
    freePort,
    options,
    program: findTool,
    packages: packageFolders(recipe),
    run: (command, args, env = {}) => execute(command, args, { cwd: folder, env, log: () => {} }),
    isRoot: process.getuid?.() === 0,
  });
  return { name, port: chosen, folder, launch };
}

class RunningService implements Service {
  readonly name: string;
  readonly port: number;
  readonly folder: string;
  readonly details: Readonly<Record<string, string | number>>;
  readonly #launch: Launch;
  #child: ChildProcess | undefined;
  readonly #killAtExit = () => killTree(this.#child?.pid, "SIGKILL");

  constructor({ name, port, folder, launch }: Prepared) {
    this.name = name;
    this.port = port;
    this.folder = folder;
    this.details = launch.details ?? {};
    this.#launch = launch;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    if (this.#child !== undefined) return;
    this.#child = launchProcess(this, this.#launch, false);
    process.once("exit", this.#killAtExit);
    await untilReady(this, this.#launch, this.#child);
  }

  async stop(): Promise<void> {
    await this.shutDown();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async shutDown(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    process.removeListener("exit", this.#killAtExit);
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((done) => child.once("exit", () => done()));
    const late = setTimeout(() => killTree(child.pid, "SIGKILL"), stopTimeoutMs);
    const killed = signal === "SIGKILL" ? killTree(child.pid, signal) : [];
    if (signal !== "SIGKILL") child.kill(signal);
    await ended;
    clearTimeout(late);
    await untilGone(this.name, killed);
  }
}

function launchProcess({ folder }: { folder: string }, launch: Launch, detached: boolean): ChildProcess {
  const log = openSync(join(folder, "output.log"), "a");
  const identity = process.getuid?.() === 0 && launch.user !== undefined ? userOf(launch.user) : undefined;
  if (identity !== undefined) giveTo(folder, identity);
  const child = spawn(launch.command, launch.args, {
    cwd: folder,
    env: toolEnvironment(launch.env),
    stdio: ["ignore", log, log],
    detached,
    ...identity,
  });
  closeSync(log);
  return child;
}

function userOf(name: string): { uid: number; gid: number } {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined) throw new Error(`there is no user ${name}`);
  return { uid: Number(uid), gid: Number(gid) };
}

function giveTo(folder: string, { uid, gid }: { uid: number; gid: number }): void {
  const names = readdirSync(folder, { recursive: true }) as string[];
  for (const path of [folder, ...names.map((name) => join(folder, name))]) chownSync(path, uid, gid);
}

async function untilReady(
  { name, port, folder }: { name: string; port: number; folder: string },
  launch: Launch,
  child: ChildProcess,
): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
  });
  while (!(await (launch.isReady?.() ?? accepts(port)))) {
    const hasEnded = failure !== undefined || child.exitCode !== null || child.signalCode !== null;
    if (hasEnded || Date.now() > deadline) {
      killTree(child.pid, "SIGKILL");
      const why =
        failure?.message ??
        (hasEnded ? `ended with ${child.exitCode ?? child.signalCode}` : "does not answer");
      throw new Error(`${name} ${why}\n${logTail(folder)}`);
    }
    await new Promise((done) => setTimeout(done, 20));
  }
}

function logTail(folder: string): string {
  const files = ["output.log", "error.log"]
    .map((name) => join(folder, name))
    .filter((path) => existsSync(path));
  return files.map((path) => readFileSync(path, "utf8").trim().split("\n").slice(-15).join("\n")).join("\n");
}

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.setTimeout(1_000, () => finish(false));
    socket.once("connect", () => finish(true));
    socket.once("error", () => finish(false));
    const finish = (answer: boolean) => {
      socket.destroy();
      done(answer);
    };
  });
}

/** Ends a process and all it started: servers such as RabbitMQ leave children in other groups. Returns whom it met. */
function killTree(pid: number | undefined, signal: NodeJS.Signals): number[] {
  if (pid === undefined) return [];
  // A stopped server forks nobody between the look at its children and the end.
  send(pid, "SIGSTOP");
  const all = [pid, ...descendants(pid)];
  for (const one of all) send(one, signal);
  return all;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** A killed process holds its memory until the kernel has taken it down: PostgreSQL starts only after its last one. */
async function untilGone(name: string, pids: readonly number[]): Promise<void> {
  const deadline = Date.now() + stopTimeoutMs;
  // The threads of a dead process may still hold its sockets.
  const isThere = (pid: number): boolean =>
    !["Z", "X", undefined].includes(statFields(pid)[0]) || threadsOf(pid) > 1;
  while (pids.some(isThere)) {
    if (Date.now() > deadline) throw new Error(`${name}: ${pids.filter(isThere).join()} outlived kill -9`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0; // It is gone.
  }
}

function descendants(pid: number): number[] {
  if (!existsSync("/proc")) return [];
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), parent: Number(statFields(Number(name))[1]) }));
  const below = (of: number): number[] =>
    parents.filter((one) => one.parent === of).flatMap((one) => [one.pid, ...below(one.pid)]);
  return below(pid);
}

/** The fields of /proc/PID/stat after the name, which may hold spaces: state, parent, …; empty when it is gone. */
function statFields(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}

// --- the command ------------------------------------------------------------------------------------------------------

interface RunRecord {
  name: string;
  port: number;
  pid: number;
  folder: string;
  /** When the process started, in ticks: tells it from a later one with the same id. */
  startedTicks: string;
}

async function up(names: string[]): Promise<void> {
  mkdirSync(runFolder, { recursive: true });
  for (const name of names) {
    const prepared = await prepare(name, {});
    const child = launchProcess(prepared, prepared.launch, true);
    await untilReady(prepared, prepared.launch, child);
    child.unref();
    const pid = child.pid ?? 0;
    const { port, folder, launch } = prepared;
    const record: RunRecord = { name, port, pid, folder, startedTicks: statFields(pid)[19] ?? "" };
    writeFileSync(join(runFolder, `${name}-${pid}.json`), JSON.stringify(record));
    console.log(JSON.stringify({ name, port, pid, folder, ...launch.details }));
  }
}

async function down(): Promise<void> {
  if (!existsSync(runFolder)) return;
  for (const file of readdirSync(runFolder)) {
    const record = JSON.parse(readFileSync(join(runFolder, file), "utf8")) as RunRecord;
    if (isSame(record)) {
      process.kill(record.pid, "SIGTERM");
      const deadline = Date.now() + stopTimeoutMs;
      while (isSame(record) && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
      if (isSame(record)) killTree(record.pid, "SIGKILL");
    }
    rmSync(record.folder, { recursive: true, force: true });
    rmSync(join(runFolder, file));
    console.log(JSON.stringify({ name: record.name, stopped: record.pid }));
  }
}

function isSame({ pid, startedTicks }: RunRecord): boolean {
  const fields = statFields(pid);
  return fields[19] === startedTicks && fields[0] !== "Z";
}

if (import.meta.main) {
  const [verb, ...names] = process.argv.slice(2);
  await asProgram(async () => {
    if (verb === "install" && names.length > 0) await installServices(names);
    else if (verb === "up" && names.length > 0) await up(names);
    else if (verb === "down") await down();
    else
      throw new InstallError(
        "usage: scripts/services install NAME… | up NAME… | down",
        `names: ${serviceNames().join(", ")}`,
      );
  });
  process.exit(0);
}
