// Runs suites (suites.mjs) two at a time, keeps what they print in .tools/logs, adds up what they counted.
// Needs Node or Bun and no package: it also has to run when nothing is installed yet.
import { spawn } from "node:child_process";
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bunPath, root, toolEnvironment, tools } from "./install.mjs";

const laneCount = 2;
const heartbeatMs = 30_000;
const logFolder = join(tools, "logs");

/** What to run for a selection: jobs with a `command`, or with the reason why they are `skipped`. */
export function plan(suites, selection) {
  return suites.flatMap((suite) => jobsOf(suite, selection));
}

function jobsOf(suite, { names, words, bunFlags }) {
  const isNamed = names.includes(suite.name);
  if (names.length > 0 && !isNamed) return [];
  const isOut = words.length > 0 && !isNamed;
  if (suite.command !== undefined) return isOut ? [] : [{ ...suite, command: [bunPath, ...suite.command] }];
  const all = testFiles(suite.files);
  if (all.length === 0)
    return isOut ? [] : [{ name: suite.name, skipped: `no test file in ${suite.files.join(", ")}` }];
  const matching = all.filter((file) => words.some((word) => file.includes(word)));
  if (isOut && matching.length === 0) return [];
  // A word that is no part of a path names tests: `contract redis` runs the tests of state.redis.
  const testNames = words.filter((word) => !all.some((file) => file.includes(word)));
  const byTestName = testNames.length > 0 ? ["-t", testNames.map(escapeRegex).join("|")] : [];
  const files = matching.length > 0 ? matching : all;
  const preload = suite.preload === undefined ? [] : ["--preload", `./${suite.preload}`];
  const timeout = ["--timeout", String((suite.testTimeoutS ?? 30) * 1000)];
  const flags = [...preload, ...timeout, ...byTestName, ...bunFlags];
  const job = (name, chosen) => ({
    ...suite,
    name,
    command: [bunPath, "test", ...flags, ...chosen.map((file) => `./${file}`)],
  });
  if (suite.each !== true) return [job(suite.name, files)];
  return files.map((file) => job(`${suite.name}-${shortName(file)}`, [file]));
}

/** The test files among and below `paths`, sorted. */
export function testFiles(paths) {
  return paths
    .flatMap((path) => (path.endsWith("/*") ? filesIn(path.slice(0, -2)) : [path]))
    .filter((path) => existsSync(join(root, path)))
    .flatMap((path) => (statSync(join(root, path)).isDirectory() ? filesBelow(path) : [path]))
    .filter((file) => file.endsWith(".test.ts"))
    .sort();
}

function filesIn(folder) {
  const entries = existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { withFileTypes: true })
    : [];
  return entries.filter((entry) => entry.isFile()).map((entry) => `${folder}/${entry.name}`);
}

function filesBelow(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    return entry.name === "node_modules" || entry.name.startsWith(".") ? [] : filesBelow(path);
  });
}

/** `test/sdk/python/state.test.ts` → `python-state`, `test/sdk/go/go.test.ts` → `go`. */
function shortName(file) {
  const parts = file
    .replace(/\.test\.ts$/, "")
    .split("/")
    .slice(1);
  const inner =
    parts.length > 1
      ? parts.slice(parts[0] === "sdk" || parts[0] === "fault" || parts[0] === "examples" ? 1 : 0)
      : parts;
  return inner.filter((part, index) => inner.indexOf(part) === index).join("-");
}

function escapeRegex(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

// --- running ------------------------------------------------------------------------------------------------------

/** Runs the jobs and returns their results in the order in which they ended. `live` prints output as it comes. */
export async function runJobs(jobs, { live = false, env = {}, print = console.log } = {}) {
  mkdirSync(logFolder, { recursive: true });
  const homes = mkdtempSync(join(tmpdir(), "mecha-test-"));
  const running = new Map();
  const stop = endOnSignal(running);
  const results = [];
  const queue = [...jobs];
  const heartbeat = setInterval(() => print(`  … ${describe(running)}`), heartbeatMs);
  const lane = async () => {
    for (let job = take(queue, running); job !== undefined; job = take(queue, running)) {
      if (job === "wait") {
        await Promise.race([...running.values()].map((entry) => entry.ended));
        continue;
      }
      const result = await runJob(job, {
        live,
        env,
        print,
        running,
        home: join(homes, String(results.length + running.size)),
      });
      results.push(result);
      report(result, print, live);
    }
  };
  await Promise.all(Array.from({ length: laneCount }, lane));
  clearInterval(heartbeat);
  stop();
  rmSync(homes, { recursive: true, force: true });
  return results;
}

/** The next job that may run beside those that are running, "wait" when none may, undefined when all are taken. */
function take(queue, running) {
  if (queue.length === 0) return undefined;
  const others = [...running.values()];
  if (others.some((entry) => entry.job.alone)) return "wait";
  const index = queue.findIndex((job) => !job.alone || others.length === 0);
  return index < 0 ? "wait" : queue.splice(index, 1)[0];
}

async function runJob(job, { live, env, print, running, home }) {
  if (job.skipped !== undefined)
    return { name: job.name, passed: 0, failed: 0, skipped: 1, reasons: [job.skipped], tookMs: 0 };
  const startedMs = Date.now();
  const logFile = join(logFolder, `${job.name}.log`);
  const log = createWriteStream(logFile);
  const child = spawn(job.command[0], job.command.slice(1), {
    cwd: root,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: environmentOf(env, home),
  });
  const entry = { job, child, startedMs };
  child.once("error", (error) => log.write(`${error.message}\n`));
  entry.ended = new Promise((done) => child.once("close", (code, signal) => done({ code, signal })));
  running.set(job.name, entry);
  if (live) prefixLines(child, job.name, print);
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => log.write(chunk));
  const timer = setTimeout(() => {
    entry.timedOut = true;
    killGroup(child);
  }, job.timeoutS * 1000);
  const { code, signal } = await entry.ended;
  clearTimeout(timer);
  killGroup(child);
  running.delete(job.name);
  await new Promise((done) => log.end(done));
  const output = readFileSync(logFile, "utf8");
  const outcome = entry.timedOut
    ? `ended after ${job.timeoutS} s`
    : code === 0
      ? undefined
      : `exit ${code ?? signal}`;
  return {
    name: job.name,
    logFile,
    output,
    outcome,
    tookMs: Date.now() - startedMs,
    ...countOf(job, output, outcome),
  };
}

/** `bun` on the PATH is the pinned one, before the stub in node_modules/.bin that npm puts first. */
function environmentOf(settings, home) {
  const env = toolEnvironment({ ...settings, MECHA_HOME: home, NO_COLOR: "1", FORCE_COLOR: undefined });
  return { ...env, PATH: `${dirname(bunPath)}:${env.PATH}` };
}

function prefixLines(child, name, print) {
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.on("data", (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) print(`${name} | ${line}`);
    });
    stream.on("end", () => rest !== "" && print(`${name} | ${rest}`));
  }
}

/** Whatever a suite started and forgot dies with its process group. */
function killGroup(child) {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group is already empty.
  }
}

function endOnSignal(running) {
  const end = (signal) => {
    for (const entry of running.values()) killGroup(entry.child);
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  return () => {
    process.removeListener("SIGINT", end);
    process.removeListener("SIGTERM", end);
  };
}

// --- counting -----------------------------------------------------------------------------------------------------

function countOf(job, output, outcome) {
  const counted =
    job.name in { types: 1, lint: 1 }
      ? { passed: outcome === undefined ? 1 : 0, failed: 0, skipped: 0 }
      : parseCounts(output);
  const ranNothing = counted.passed + counted.failed + counted.skipped === 0;
  // An exit code without a failed test (a crash, an error between tests) must not look like success.
  if (outcome !== undefined && counted.failed === 0) counted.failed = 1;
  if (outcome === undefined && ranNothing && job.command.includes("test")) counted.failed = 1;
  return { ...counted, reasons: skipReasons(output, counted.skipped) };
}

/** Adds up bun's summaries (` 5 pass`) and lines like `3 passed, 1 failed, 2 skipped` in a suite's output. */
export function parseCounts(output) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const line of output.split("\n")) {
    const bun = /^\s*(\d+) (pass|fail|skip|todo|errors?)$/.exec(line);
    if (bun !== null)
      total[{ p: "passed", f: "failed", s: "skipped", t: "skipped", e: "failed" }[bun[2][0]]] += Number(
        bun[1],
      );
    const own = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(line.trim());
    if (own === null) continue;
    total.passed += Number(own[1]);
    total.failed += Number(own[2]);
    total.skipped += Number(own[3] ?? 0);
  }
  return total;
}

/** Suites say why with a line `skipped: REASON`; bun names the tests it left out. */
function skipReasons(output, skipped) {
  if (skipped === 0) return [];
  const lines = output.split("\n").map((line) => line.trim());
  const reasons = lines
    .filter((line) => line.startsWith("skipped: "))
    .map((line) => line.slice("skipped: ".length));
  const tests = lines.filter((line) => line.startsWith("(skip) ") || line.startsWith("(todo) "));
  return [...new Set(reasons.length > 0 ? reasons : tests)].slice(0, 20);
}

// --- telling ------------------------------------------------------------------------------------------------------

function report(result, print, live) {
  const { name, passed, failed, skipped, outcome, tookMs } = result;
  const mark = failed > 0 ? "✘" : passed === 0 ? "-" : "✔";
  const parts = [
    `${passed} passed`,
    failed > 0 && `${failed} failed`,
    skipped > 0 && `${skipped} skipped`,
    outcome,
  ].filter(Boolean);
  print(`${mark} ${name}: ${parts.join(", ")} (${(tookMs / 1000).toFixed(1)} s)`);
  if (failed === 0 || live) return;
  for (const line of relevant(result.output)) print(`    ${name} | ${line}`);
  print(`    ${name} | the whole log: ${result.logFile}`);
}

/** What a failed suite printed for each failed test, up to `linesMax` lines each, and the end of its log. */
export function relevant(output, linesMax = 60) {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  const kept = [];
  let test = [];
  for (const line of lines) {
    // bun prints a test's errors before the line with its result, and lists the failed ones again in the end.
    if (/^\d+ tests failed:$/.test(line)) break;
    test.push(line);
    if (line.startsWith("(fail)")) kept.push(...shortened(test, linesMax));
    if (/^\((pass|fail|skip|todo)\)/.test(line)) test = [];
  }
  const end = lines.filter((line) => !line.startsWith("(pass)"));
  if (kept.length === 0) return shortened(end, 4 * linesMax);
  return [...shortened(kept, 6 * linesMax), ...end.slice(-5)];
}

function shortened(lines, linesMax) {
  return lines.length <= linesMax
    ? lines
    : [`… ${lines.length - linesMax} lines above`, ...lines.slice(-linesMax)];
}

function describe(running) {
  const parts = [...running.values()].map(
    ({ job, startedMs }) => `${job.name} ${Math.round((Date.now() - startedMs) / 1000)} s`,
  );
  return parts.length > 0 ? `running ${parts.join(", ")}` : "starting";
}

/** Prints why things were skipped, then the one last line. Returns the exit code. */
export function conclude(results, print = console.log) {
  const sum = (field) => results.reduce((total, result) => total + result[field], 0);
  for (const result of results.filter((one) => one.skipped > 0)) {
    const why = result.reasons.length > 0 ? result.reasons.join("; ") : "no reason given";
    print(
      `skipped ${result.name}: ${result.passed + result.failed > 0 ? `${result.skipped} tests: ` : ""}${why}`,
    );
  }
  const failed = results.filter((result) => result.failed > 0).map((result) => result.name);
  if (failed.length > 0) print(`failed suites: ${failed.join(", ")}`);
  print(`${sum("passed")} passed, ${sum("failed")} failed`);
  return sum("failed") > 0 || sum("passed") === 0 ? 1 : 0;
}

/** Splits a command line into suite names, words, flags for bun test, and settings for the tests. */
export function readArguments(argv, suites) {
  const names = [];
  const words = [];
  const bunFlags = [];
  const env = {};
  let live = false;
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index];
    if (argument === "--live" || argument === "--verbose") live = true;
    else if (argument.startsWith("-")) index += readFlag(argument, argv[index + 1], bunFlags, env);
    else if (suites.some((suite) => suite.name === argument)) names.push(argument);
    else words.push(argument.replace(/^\.\//, ""));
  }
  return { names, words, bunFlags, env, live };
}

const bunFlagsWithValue = ["-t", "--test-name-pattern", "--timeout", "--rerun-each", "--max-concurrency"];
const bunSwitches = [
  "--bail",
  "--only",
  "--todo",
  "--coverage",
  "--randomize",
  "--update-snapshots",
  "-u",
  "--concurrent",
];

/** Flags that bun test does not know go to the tests: `--rounds 500` becomes MECHA_TEST_ROUNDS=500. */
function readFlag(flag, next, bunFlags, env) {
  const [name, inline] = flag.split(/=(.*)/s);
  if (bunSwitches.includes(name)) {
    bunFlags.push(flag);
    return 0;
  }
  const value = inline ?? (next === undefined || next.startsWith("-") ? "1" : next);
  const consumed = inline === undefined && value === next ? 1 : 0;
  if (bunFlagsWithValue.includes(name)) bunFlags.push(name, value);
  else env[`MECHA_TEST_${name.replace(/^-+/, "").replaceAll("-", "_").toUpperCase()}`] = value;
  return consumed;
}
