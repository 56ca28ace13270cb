// What a whole test run showed, file by file, for the table of docs/reference/components.md:
// `bun scripts/component-results.ts [CHECKOUT]` records the `npm test` that was last run in a clean checkout.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const resultsPath = join(root, "docs", "reference", "component-results.json");

/** How many of a file's tests ended how. */
export interface FileResult {
  passed: number;
  failed: number;
}

export interface RecordedRun {
  commit: string;
  /** The day on which it ended, `2026-11-28`. */
  date: string;
  /** By test file, from the root. */
  files: Record<string, FileResult>;
}

export function recordedRun(): RecordedRun {
  return JSON.parse(readFileSync(resultsPath, "utf8"));
}

/** The results in what `bun test` printed, by file. */
export function resultsIn(log: string): Map<string, FileResult> {
  const results = new Map<string, FileResult>();
  let result: FileResult | undefined;
  for (const line of log.split("\n")) {
    // In the end bun lists the tests that failed once more.
    if (/^\d+ tests failed:$/.test(line)) break;
    const file = /^(test\/\S+\.test\.ts):$/.exec(line)?.[1];
    if (file !== undefined) {
      result = results.get(file) ?? { passed: 0, failed: 0 };
      results.set(file, result);
    } else if (result && line.startsWith("(pass) ")) result.passed++;
    else if (result && line.startsWith("(fail) ")) result.failed++;
  }
  return results;
}

function recordOf(checkout: string): RecordedRun {
  const git = (...words: string[]) =>
    execFileSync("git", ["-C", checkout, ...words], { encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain");
  if (changed !== "")
    throw new Error(`${checkout} has changes: its tests say nothing about a commit\n${changed}`);
  const folder = join(checkout, ".tools", "logs");
  if (!existsSync(folder))
    throw new Error(`${folder} is not there\nhint: run \`npm test\` in ${checkout} first`);
  const committedMs = Number(git("log", "-1", "--format=%ct")) * 1000;
  const logs = readdirSync(folder)
    .filter((name) => /^(contract|fault-.*)\.log$/.test(name))
    .map((name) => join(folder, name));
  const old = logs.filter((log) => statSync(log).mtimeMs < committedMs);
  if (old.length > 0)
    throw new Error(`older than the commit: ${old.join(", ")}\nhint: run \`npm test\` again`);
  const files = logs
    .flatMap((log) => [...resultsIn(readFileSync(log, "utf8"))])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const endedMs = Math.max(...logs.map((log) => statSync(log).mtimeMs));
  return {
    commit: git("rev-parse", "--short=10", "HEAD"),
    date: new Date(endedMs).toISOString().slice(0, 10),
    files: Object.fromEntries(files),
  };
}

if (import.meta.main) {
  const record = recordOf(resolve(process.argv[2] ?? root));
  writeFileSync(resultsPath, `${JSON.stringify(record, undefined, 1)}\n`);
  console.log(`recorded ${Object.keys(record.files).length} files of ${record.commit}; now \`npm run docs\``);
}
