// Brings what a checkout needs: the pinned Bun, the locked packages, the generated messages. Plain Node, no packages,
// works with an empty environment. Does nothing, quickly and quietly, when everything is there.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { arch, homedir, platform } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { withLock } from "./lock.mjs";

export const root = resolve(import.meta.dirname, "..");
export const tools = join(root, ".tools");
const stampFile = join(tools, "installed.json");

/** Where the pinned Bun is run from, installed or not: a link to the real binary, so the path never changes. */
export const bunPath = join(tools, "bin", "bun");

export class InstallError extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

/**
 * Installs what is missing. `report` gets one line per step that has to be done.
 * @param {(line: string) => void} report
 */
export async function install(report = (line) => console.error(line)) {
  if (isInstalled()) return;
  const onWait = () => report("waiting for another install");
  await withLock(join(tools, "install.lock"), () => installAll(report), { onWait });
}

function installAll(report) {
  const before = readStamp();
  ensureBun(report);
  ensurePackages(before, report);
  ensureWire(report);
  writeFileSync(stampFile, `${JSON.stringify(wantedStamp())}\n`);
}

/** True when nothing has to be done. */
export function isInstalled() {
  if (installedBunVersion() !== wantedBunVersion()) return false;
  if (!existsSync(join(root, "node_modules")) || !existsSync(join(root, "src", "wire", ".stamp")))
    return false;
  if (JSON.stringify(readStamp()) !== JSON.stringify(wantedStamp())) return false;
  touchStamp();
  return true;
}

/**
 * The environment for tools that go to a registry: a certificate bundle and a home even when there is none.
 * @param {Record<string, string | undefined>} extra
 * @returns {Record<string, string | undefined>}
 */
export function toolEnvironment(extra = {}) {
  const env = { ...process.env };
  const bundle = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
  ].find(existsSync);
  if (bundle !== undefined) {
    env.NODE_EXTRA_CA_CERTS ??= bundle;
    env.SSL_CERT_FILE ??= bundle;
  }
  env.HOME ??= homedirOrTools();
  env.PATH = [
    env.PATH,
    dirname(process.execPath),
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
  ]
    .filter(Boolean)
    .join(":");
  return { ...env, ...extra };
}

function homedirOrTools() {
  try {
    const home = homedir();
    if (statSync(home).isDirectory()) return home;
  } catch {
    // No home directory is known for this user: a private one inside the checkout does.
  }
  return join(tools, "home");
}

// --- Bun ---------------------------------------------------------------------------------------------------------

export function wantedBunVersion() {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const version = manifest.dependencies?.bun ?? manifest.devDependencies?.bun;
  if (!/^\d+\.\d+\.\d+$/.test(version ?? ""))
    throw new InstallError(`package.json does not pin bun exactly: ${version}`);
  return version;
}

function installedBunVersion() {
  if (!existsSync(bunPath)) return undefined;
  const manifest = join(dirname(realpathSync(bunPath)), "..", "package.json");
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : undefined;
}

function ensureBun(report) {
  const version = wantedBunVersion();
  if (installedBunVersion() === version) return;
  const baseline = needsBaseline()
    ? [`@oven/bun-linux-x64${isMusl() ? "-musl" : ""}-baseline@${version}`]
    : [];
  if (!hasBunBinary(version, baseline.length > 0)) {
    report(`installing Bun ${version}`);
    npmInstall(tools, [`bun@${version}`, ...baseline]);
  }
  const binary = bunBinary(baseline.length > 0);
  if (binary === undefined) {
    throw new InstallError(
      `npm brought no Bun ${version} for ${platform()}-${arch()}`,
      "Bun runs on Linux, macOS and Windows, x64 and arm64",
    );
  }
  mkdirSync(dirname(bunPath), { recursive: true });
  rmSync(bunPath, { force: true });
  symlinkSync(relative(dirname(bunPath), binary), bunPath);
}

function hasBunBinary(version, wantsBaseline) {
  const binary = bunBinary(wantsBaseline);
  if (binary === undefined) return false;
  return JSON.parse(readFileSync(join(dirname(binary), "..", "package.json"), "utf8")).version === version;
}

function bunBinary(wantsBaseline) {
  const folder = join(tools, "node_modules", "@oven");
  if (!existsSync(folder)) return undefined;
  const names = readdirSync(folder).filter(
    (name) => name.startsWith("bun-") && name.includes("baseline") === wantsBaseline,
  );
  const fitting = names.filter((name) => name.includes("musl") === isMusl());
  return fitting.map((name) => join(folder, name, "bin", "bun")).find(existsSync);
}

/** The ordinary x64 build uses AVX2 and dies with SIGILL on older processors. */
function needsBaseline() {
  if (platform() !== "linux" || arch() !== "x64") return false;
  return !/^flags\s*:.*\bavx2\b/m.test(readFileSync("/proc/cpuinfo", "utf8"));
}

function isMusl() {
  return (
    platform() === "linux" &&
    existsSync(`/lib/ld-musl-${arch() === "arm64" ? "aarch64" : "x86_64"}.so.1`) &&
    !existsSync("/lib64/ld-linux-x86-64.so.2")
  );
}

/**
 * Installs npm packages into `folder`. npm removes what it is not asked for, so each set needs its own folder.
 * @param {string} folder
 * @param {string[]} packages
 */
export function npmInstall(folder, packages) {
  mkdirSync(folder, { recursive: true });
  const npm = npmCommand();
  const flags = [
    "--no-save",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=2000",
  ];
  const run = spawnSync(npm.command, [...npm.args, "i", "--prefix", folder, ...flags, ...packages], {
    env: toolEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: 5 * 60_000,
  });
  if (run.status === 0) return;
  throw new InstallError(
    `npm could not install ${packages.join(" ")}\n${tail(run.stderr || run.error?.message)}`,
    registryHint,
  );
}

function npmCommand() {
  const node = realpathSync(process.execPath);
  const candidates = [
    join(dirname(node), "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"),
    "/usr/lib/node_modules/npm/bin/npm-cli.js",
    "/usr/local/lib/node_modules/npm/bin/npm-cli.js",
    "/usr/share/nodejs/npm/bin/npm-cli.js",
  ];
  const script = candidates.find(existsSync);
  return script === undefined ? { command: "npm", args: [] } : { command: nodePath(), args: [script] };
}

/** Node for running npm, also when this module was loaded by Bun. */
function nodePath() {
  if (process.versions.bun === undefined) return process.execPath;
  return ["/usr/bin/node", "/usr/local/bin/node"].find(existsSync) ?? "node";
}

const registryHint =
  "is https://registry.npmjs.org reachable? Behind a proxy set HTTPS_PROXY, for a mirror set npm_config_registry, for a private certificate set NODE_EXTRA_CA_CERTS; then run the same command again";

// --- packages and generated messages -----------------------------------------------------------------------------

function ensurePackages(before, report) {
  const wanted = wantedStamp();
  if (existsSync(join(root, "node_modules")) && before?.packages === wanted.packages) return;
  report("installing the locked packages");
  const run = spawnSync(bunPath, ["install", "--frozen-lockfile", "--ignore-scripts"], {
    cwd: root,
    env: toolEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: 5 * 60_000,
  });
  if (run.status === 0) return;
  const stale = /lockfile had changes|frozen/.test(run.stderr);
  const hint = stale
    ? "package.json and bun.lock disagree: run `.tools/bin/bun install` and commit both"
    : registryHint;
  throw new InstallError(`bun install failed\n${tail(run.stderr || run.error?.message)}`, hint);
}

function ensureWire(report) {
  if (!existsSync(join(root, "src", "wire", ".stamp"))) report("generating src/wire from the .proto files");
  const run = spawnSync(bunPath, [join(root, "scripts", "wire.ts")], {
    cwd: root,
    env: toolEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: 2 * 60_000,
  });
  if (run.status === 0) return;
  throw new InstallError(
    `generating src/wire failed\n${tail(run.stderr || run.stdout || run.error?.message)}`,
    "remove src/wire and node_modules and run the command again",
  );
}

// --- the stamp: what was installed from which inputs ------------------------------------------------------------

function wantedStamp() {
  const packages = hash([read("bun.lock"), read("package.json")]);
  const protos = filesBelow(join(root, "proto")).map((file) => `${file}:${readFileSync(file, "utf8")}`);
  return { bun: wantedBunVersion(), packages, wire: hash([packages, read("scripts/wire.ts"), ...protos]) };
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return undefined;
  }
}

/** `./mecha` compares modification times only, so a check that found all well must leave the stamp newest. */
function touchStamp() {
  const now = new Date();
  try {
    utimesSync(stampFile, now, now);
  } catch {
    // A read-only checkout: the launcher then asks again each time, which is slower but right.
  }
}

function read(name) {
  return readFileSync(join(root, name), "utf8");
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((file) => file.endsWith(".proto"))
    .sort();
}

function hash(parts) {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(part).update("\0");
  return sum.digest("hex").slice(0, 24);
}

function tail(text, lines = 12) {
  return (text ?? "").trim().split("\n").slice(-lines).join("\n");
}

/** Runs `main` as a program: a failure is one message and its hint, not a stack. */
export async function asProgram(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof InstallError)) throw error;
    console.error(`mecha: ${error.message}`);
    if (error.hint !== undefined) console.error(`hint: ${error.hint}`);
    process.exit(1);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  await asProgram(() => install());
}
