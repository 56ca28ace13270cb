// `node scripts/bun.mjs test/replay/record.ts [NAME…]` records anew what the workflows of these tests do.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bunPath } from "../../scripts/install.mjs";
import { fixtures, readTurns, writeTurns } from "./recording.ts";

const root = resolve(import.meta.dirname, "../..");
const sources: Record<string, string[]> = {
  python: ["test/sdk/workflow-python.test.ts"],
  go: ["test/sdk/workflow-go.test.ts", "-t", "per app: false"],
  java: ["test/sdk/workflow-java.test.ts"],
  javascript: ["test/sdk/workflow-javascript.test.ts"],
  // Workers written by hand: what no SDK's cases lead to.
  scripted: ["test/scenario/workflow.test.ts", "test/scenario/workflow-keeping.test.ts"],
};

const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : Object.keys(sources)) record(name, sources[name]);

function record(name: string, files: string[] | undefined): void {
  if (files === undefined)
    throw new Error(`no such source: ${name}; there are ${Object.keys(sources).join(", ")}`);
  const folder = mkdtempSync(join(tmpdir(), "mecha-record-"));
  try {
    const raw = join(folder, "turns.jsonl");
    const preload = join(import.meta.dirname, "recorder.ts");
    const env = { ...process.env, BUN_OPTIONS: `--preload=${preload}`, MECHA_RECORDS_TURNS_TO: raw };
    const run = spawnSync(bunPath, ["test", ...files, "--timeout", "600000"], {
      cwd: root,
      env,
      stdio: "inherit",
    });
    if (run.status !== 0) throw new Error(`the tests of ${name} failed: nothing is kept`);
    const turns = readTurns(raw);
    // Instance by instance, so that a recording can be read.
    const instances = [...new Set(turns.map(({ given }) => given.id))];
    writeTurns(
      join(fixtures, `${name}.jsonl`),
      instances.flatMap((id) => turns.filter(({ given }) => given.id === id)),
    );
    console.log(`${name}: ${turns.length} turns of ${instances.length} instances`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
