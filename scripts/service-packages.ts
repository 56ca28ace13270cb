// Installs what a service recipe names, from Debian, npm, PyPI, Maven Central and the Go proxy.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execute, findPython, findTool, findToolOrNone, hashOf, once, tell } from "./build-once.ts";
import { InstallError, npmInstall, toolEnvironment, tools } from "./install.mjs";
import { withLock } from "./lock.mjs";
import type { Recipe } from "./services.d/recipe.ts";

/** Installs what the recipes need and do not have. */
export async function installPackages(recipes: Recipe[]): Promise<void> {
  const missing = recipes.filter((recipe) => !hasPrograms(recipe)).flatMap((recipe) => recipe.debian ?? []);
  if (missing.length > 0) await withLock(join(tools, "apt.lock"), () => aptInstall([...new Set(missing)]));
  for (const recipe of recipes) {
    if (!hasPrograms(recipe))
      throw new InstallError(`${recipe.name} was installed but lacks ${missingPrograms(recipe)}`);
    await installNpm(recipe);
    await installPython(recipe);
    await installMaven(recipe);
    await buildGo(recipe);
  }
}

function hasPrograms(recipe: Recipe): boolean {
  return missingPrograms(recipe).length === 0;
}

function missingPrograms(recipe: Recipe): string[] {
  return (recipe.programs ?? []).filter((name) => findToolOrNone(name) === undefined && !existsSync(name));
}

/** The folders that `installPackages` fills for a recipe. */
export function packageFolders(recipe: Recipe): { npm: string; python: string; maven: string; go: string } {
  const folder = (kind: string, parts: string[] = []) => join(tools, kind, `${recipe.name}-${hashOf(parts)}`);
  return {
    npm: folder("npm", recipe.npm),
    python: folder("py", recipe.python),
    maven: folder("m2", recipe.maven),
    go: folder("go", [JSON.stringify(recipe.go ?? "")]),
  };
}

async function installNpm(recipe: Recipe): Promise<void> {
  const packages = recipe.npm;
  if (packages === undefined) return;
  const folder = packageFolders(recipe).npm;
  await once(folder, `npm: ${packages.join(" ")}`, async () => npmInstall(folder, packages));
}

async function installPython(recipe: Recipe): Promise<void> {
  const packages = recipe.python;
  if (packages === undefined) return;
  const folder = packageFolders(recipe).python;
  await once(folder, `python: ${packages.join(" ")}`, async (log) => {
    await execute(findPython(), ["-m", "venv", folder], { log });
    const flags = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-q"];
    await execute(join(folder, "bin", "python"), [...flags, ...packages], { log });
  });
}

async function installMaven(recipe: Recipe): Promise<void> {
  const coordinates = recipe.maven;
  if (coordinates === undefined) return;
  const folder = packageFolders(recipe).maven;
  await once(folder, `maven: ${coordinates.join(" ")}`, async (log) => {
    writeFileSync(join(folder, "pom.xml"), pomOf(coordinates));
    const goal = ["-B", "-q", "dependency:copy-dependencies", `-DoutputDirectory=${join(folder, "libs")}`];
    await execute(findTool("mvn"), goal, { cwd: folder, log });
  });
}

async function buildGo(recipe: Recipe): Promise<void> {
  if (recipe.go === undefined) return;
  const { module, command, files } = recipe.go;
  const folder = packageFolders(recipe).go;
  await once(folder, `go: ${module}`, async (log) => {
    const go = findTool("go");
    let described = "";
    const tell = (text: string): void => {
      described += text;
      log(text);
    };
    await execute(go, ["mod", "download", "-json", module], { cwd: folder, log: tell });
    const source = join(folder, "source");
    const from = /"Dir": ("[^"]+")/.exec(described)?.[1];
    if (from === undefined) throw new Error(`go did not say where ${module} is`);
    cpSync(JSON.parse(from) as string, source, { recursive: true });
    // What Go downloads is read-only.
    await execute("/bin/chmod", ["-R", "u+w", source], { log });
    for (const [path, text] of Object.entries(files)) writeFileSync(join(source, path), text);
    await execute(go, ["build", "-trimpath", "-o", join(folder, "program"), command], { cwd: source, log });
    rmSync(source, { recursive: true });
  });
}

function pomOf(coordinates: string[]): string {
  const dependencies = coordinates.map((one) => {
    const [group, artifact, version, classifier] = one.split(":");
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>${classifier === undefined ? "" : alone(classifier)}</dependency>`;
  });
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>mecha</groupId><artifactId>libs</artifactId><version>1</version>
<dependencies>${dependencies.join("")}</dependencies></project>`;
}

/** A jar with a classifier has everything inside. */
function alone(classifier: string): string {
  const nothing =
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>";
  return `<classifier>${classifier}</classifier>${nothing}`;
}

// --- Debian -----------------------------------------------------------------------------------------------------------

const aptHint = "installing servers for tests needs Debian or Ubuntu, and root or passwordless sudo";

function aptInstall(packages: string[]): void {
  if (!existsSync("/usr/bin/apt-get"))
    throw new InstallError(`cannot install ${packages.join(" ")}`, aptHint);
  tell(`debian: ${packages.join(" ")}`);
  const flags = ["-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
  if (apt("install", ...flags, ...packages).status === 0) return;
  // The lists are missing or older than the mirror.
  const update = apt("update", "-o", "DPkg::Lock::Timeout=120");
  const install = apt("install", ...flags, ...packages);
  if (install.status === 0) return;
  const said = `${update.stderr}\n${install.stderr}`.trim().split("\n").slice(-12).join("\n");
  throw new InstallError(`apt-get could not install ${packages.join(" ")}\n${said}`, aptHint);
}

function apt(...args: string[]) {
  const isRoot = process.getuid?.() === 0;
  const command = isRoot ? "/usr/bin/apt-get" : "/usr/bin/sudo";
  // A package's own service must not start: run level 1 keeps invoke-rc.d from doing so.
  const env = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const asRoot = [
    "-n",
    "env",
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
    "/usr/bin/apt-get",
  ];
  mkdirSync(tools, { recursive: true });
  return spawnSync(command, isRoot ? args : [...asRoot, ...args], {
    env: toolEnvironment(env),
    encoding: "utf8",
    timeout: 10 * 60_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
}
