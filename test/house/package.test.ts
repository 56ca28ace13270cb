import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../scripts/build-once.ts";
import { root, toolEnvironment } from "../../scripts/install.mjs";

const folder = mkdtempSync(join(tmpdir(), "mecha-package-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function npm(...args: string[]): string {
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  const run = spawnSync(findTool("npm"), [...args, ...quiet], {
    cwd: folder,
    env: toolEnvironment(),
    encoding: "utf8",
    timeout: 200_000,
  });
  if (run.status !== 0) throw new Error(`npm ${args[0]} failed\n${run.stderr}`);
  return run.stdout;
}

test("the npm package holds what runs and no tests, and its `mecha` runs without this checkout", () => {
  const [pack] = JSON.parse(npm("pack", root, "--json")) as { filename: string; files: { path: string }[] }[];
  const paths = pack?.files.map(({ path }) => path) ?? [];
  expect(paths).toContain("src/wire/dapr/proto/runtime/v1/dapr_pb.js");
  expect(paths.filter((path) => /\.test\.ts$|fixture-|^(test|scripts|bench)\//.test(path))).toEqual([]);

  writeFileSync(join(folder, "package.json"), '{ "name": "app", "version": "1.0.0" }\n');
  npm("install", "--ignore-scripts", `./${pack?.filename}`);
  const run = spawnSync(join(folder, "node_modules", ".bin", "mecha"), ["version"], {
    cwd: folder,
    env: {},
    encoding: "utf8",
  });
  expect(run.stderr).toBe("");
  expect(run.stdout).toMatch(/^mecha \d+\.\d+\.\d+/);
}, 300_000);
