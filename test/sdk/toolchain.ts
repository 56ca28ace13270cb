// Builds the foreign-language programs of test/sdk with the tools of this machine: Python, Go, Java, Rust. Every
// result is kept under .tools by a hash of its inputs, so that only the first run downloads and compiles.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { toolEnvironment, tools } from "../../scripts/install.mjs";
import { withLock } from "../../scripts/lock.mjs";

const buildTimeoutMs = 15 * 60_000;
const toolFolders = [
  "/usr/local/bin",
  "/usr/bin",
  "/bin",
  "/usr/local/go/bin",
  "/usr/lib/go/bin",
  "/opt/homebrew/bin",
];

/** A virtual environment that holds the packages of a requirements file. Returns its absolute Python. */
export async function pythonVenv(requirementsFile: string): Promise<string> {
  const base = findPython();
  const key = hashOf([base, read(requirementsFile)]);
  const folder = join(tools, "py", key);
  const python = join(folder, "bin", "python");
  await once(folder, `python: packages of ${basename(requirementsFile)}`, async (log) => {
    await execute(base, ["-m", "venv", folder], { log });
    const flags = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-q"];
    await execute(python, [...flags, "-r", resolve(requirementsFile)], { log });
  });
  return python;
}

/** Builds the Go module in `folder`. Returns the executable. */
export async function goBuild(folder: string): Promise<string> {
  const go = findTool("go");
  const out = join(tools, "go", hashOf([go, ...sourcesOf(folder)]));
  const program = join(out, basename(resolve(folder)));
  await once(out, `go: build ${basename(folder)}`, async (log) => {
    const env = { GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly", CGO_ENABLED: "0" };
    await execute(go, ["build", "-trimpath", "-o", program, "."], { cwd: folder, env, log });
  });
  return program;
}

export interface JavaProgram {
  java: string;
  /** The package's own jar. */
  jar: string;
  /** The jar and everything it needs, for `java -cp`. */
  classPath: string;
}

/** Packages the Maven project in `folder`, with its dependencies beside it. */
export async function mavenPackage(folder: string): Promise<JavaProgram> {
  const maven = findTool("mvn");
  const java = findTool("java");
  const out = join(tools, "java", hashOf([maven, java, ...sourcesOf(folder)]));
  const project = join(out, "project");
  await once(out, `java: package ${basename(folder)}`, async (log) => {
    cpSync(folder, project, { recursive: true, filter: (path) => !path.includes("/target") });
    const env = { JAVA_HOME: resolve(realpathSync(java), "../..") };
    const goals = ["package", "dependency:copy-dependencies"];
    const flags = ["-B", "-q", "-DskipTests", "-DoutputDirectory=target/libs", "-DincludeScope=runtime"];
    await execute(maven, [...flags, ...goals], { cwd: project, env, log });
  });
  const target = join(project, "target");
  const jar = readdirSync(target).find((name) => name.endsWith(".jar") && !name.startsWith("original-"));
  if (jar === undefined) throw new Error(`maven left no jar in ${target}`);
  const path = join(target, jar);
  return { java, jar: path, classPath: [path, join(target, "libs", "*")].join(delimiter) };
}

/** Builds the Rust crate in `folder`. Returns the executable. */
export async function cargoBuild(folder: string): Promise<string> {
  const cargo = findTool("cargo");
  const name = /^name\s*=\s*"([^"]+)"/m.exec(read(join(folder, "Cargo.toml")))?.[1];
  if (name === undefined) throw new Error(`${folder}/Cargo.toml names no package`);
  const out = join(tools, "rust", hashOf([cargo, ...sourcesOf(folder)]));
  await once(out, `rust: build ${basename(folder)}`, async (log) => {
    // Shared by all crates, so that their dependencies compile once.
    const target = join(tools, "rust", "target");
    const project = join(out, "project");
    cpSync(folder, project, { recursive: true, filter: (path) => !path.includes("/target") });
    const locked = existsSync(join(folder, "Cargo.lock")) ? ["--locked"] : [];
    const env = { CARGO_TARGET_DIR: target, RUSTC: findTool("rustc") };
    await execute(cargo, ["build", "--release", ...locked], { cwd: project, env, log });
    cpSync(join(target, "release", name), join(out, name));
  });
  return join(out, name);
}

/** The absolute path of a tool: from PATH, or from where distributions and installers put it. */
export function findTool(name: string): string {
  const own = [".cargo/bin", "go/bin"].map((folder) => join(toolEnvironment().HOME ?? "/", folder));
  // Rustup's proxies pick a toolchain by HOME; they are links named after the tool.
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...toolFolders, ...own].filter(Boolean);
  const found = folders.map((folder) => join(folder, name)).find(existsSync);
  if (found === undefined) throw new Error(`${name} is not installed (looked in ${folders.join(", ")})`);
  return found;
}

/** A Python that is a real program: version managers' shims need a shell set up for them. */
function findPython(): string {
  const candidates = ["/usr/bin/python3", "/usr/local/bin/python3", "/opt/homebrew/bin/python3"];
  return candidates.find(existsSync) ?? findTool("python3");
}

// --- doing it once --------------------------------------------------------------------------------------------------

type Log = (text: string) => void;

/** Makes `folder` unless it was finished before; several processes may ask at once. */
async function once(folder: string, label: string, make: (log: Log) => Promise<void>): Promise<void> {
  const done = join(folder, ".done");
  if (existsSync(done)) return;
  const waiting = { waitMs: buildTimeoutMs, onWait: () => tell(`${label}: waiting for another process`) };
  await withLock(
    `${folder}.lock`,
    () => (existsSync(done) ? undefined : makeAnew(folder, label, make)),
    waiting,
  );
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
    throw new Error(
      `${label} failed: ${(error as Error).message}\n${output.split("\n").slice(-40).join("\n")}`,
    );
  }
  writeFileSync(join(folder, ".done"), "");
  tell(`${label}: done in ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
}

interface Execution {
  cwd?: string;
  env?: Record<string, string>;
  log: Log;
}

async function execute(command: string, args: string[], { cwd, env, log }: Execution): Promise<void> {
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

function tell(line: string): void {
  process.stderr.write(`· ${line}\n`);
}

// --- inputs ----------------------------------------------------------------------------------------------------------

function sourcesOf(folder: string): string[] {
  const names = (readdirSync(folder, { recursive: true }) as string[]).sort();
  return names
    .filter((name) => !/(^|\/)(target|node_modules|\.git)(\/|$)/.test(name))
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => `${name}\n${read(join(folder, name))}`);
}

function hashOf(parts: string[]): string {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(part).update("\0");
  return sum.digest("hex").slice(0, 16);
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
