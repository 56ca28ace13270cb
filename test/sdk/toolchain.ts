// Builds the foreign-language programs of test/sdk with the tools of this machine: Python, Go, Java, Rust. Every
// result is kept under .tools by a hash of its inputs, so that only the first run downloads and compiles.
import { cpSync, existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { execute, findPython, findTool, hashOf, once } from "../../scripts/build-once.ts";
import { tools } from "../../scripts/install.mjs";

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

/** Builds the Go module in `folder` for WebAssembly, as a library of what it exports. */
export async function goWasm(folder: string): Promise<string> {
  const go = findTool("go");
  const out = join(tools, "go", hashOf(["wasm", go, ...sourcesOf(folder)]));
  const program = join(out, `${basename(resolve(folder))}.wasm`);
  await once(out, `go: build ${basename(folder)}.wasm`, async (log) => {
    const env = { GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly", GOOS: "wasip1", GOARCH: "wasm" };
    const flags = ["build", "-trimpath", "-buildmode=c-shared", "-o", program, "."];
    await execute(go, flags, { cwd: folder, env, log });
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
    // Maven lives for seconds: compiling it well costs more than it brings.
    const options = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";
    const env = { JAVA_HOME: resolve(realpathSync(java), "../.."), MAVEN_OPTS: options };
    const goals = ["package", "dependency:copy-dependencies"];
    const flags = [
      "-B",
      "-q",
      "-Dmaven.test.skip=true",
      "-DoutputDirectory=target/libs",
      "-DincludeScope=runtime",
    ];
    await execute(maven, [...flags, ...goals], { cwd: project, env, log });
  });
  const target = join(project, "target");
  const jar = readdirSync(target).find((name) => name.endsWith(".jar") && !name.startsWith("original-"));
  if (jar === undefined) throw new Error(`maven left no jar in ${target}`);
  const path = join(target, jar);
  return { java, jar: path, classPath: [path, join(target, "libs", "*")].join(delimiter) };
}

/** Packages the Maven project in `folder`. Returns the command of its program. */
export async function javaProgram(folder: string): Promise<string[]> {
  const { java, classPath } = await mavenPackage(folder);
  // What costs least to start: the programs live for seconds.
  const flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"];
  return [java, ...flags, "-cp", classPath, "run.mecha.test.Program"];
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

function sourcesOf(folder: string): string[] {
  const names = (readdirSync(folder, { recursive: true }) as string[]).sort();
  return names
    .filter((name) => !/(^|\/)(target|node_modules|\.git)(\/|$)/.test(name))
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => `${name}\n${read(join(folder, name))}`);
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
