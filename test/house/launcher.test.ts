import { afterAll, describe, expect, test } from "bun:test";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../scripts/build.ts";
import { root } from "../../scripts/install.mjs";

const folder = mkdtempSync(join(tmpdir(), "mecha-launcher-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A folder as an application may have it: with settings of Bun's that are not about mecha. */
function applicationFolder(): string {
  const path = join(folder, "application");
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "bunfig.toml"), 'preload = ["./not-there.ts"]\n');
  writeFileSync(
    join(path, "tsconfig.json"),
    '{ "compilerOptions": { "paths": { "yaml": ["./not-there"] } } }\n',
  );
  writeFileSync(join(path, ".env"), "NODE_OPTIONS=--not-an-option\n");
  return path;
}

function run(command: string, args: string[], env: Record<string, string> = {}) {
  const result = spawnSync(command, args, {
    cwd: applicationFolder(),
    env,
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status: result.status, out: result.stdout, errors: result.stderr };
}

describe("./mecha", () => {
  test("runs with an empty environment from a folder with its own Bun settings", () => {
    const { status, out, errors } = run(join(root, "mecha"), ["version"]);
    expect(errors).toBe("");
    expect(out).toMatch(/^mecha \d+\.\d+\.\d+/);
    expect(status).toBe(0);
  });

  test("runs through a chain of links", () => {
    symlinkSync(join(root, "mecha"), join(folder, "first"));
    mkdirSync(join(folder, "bin"));
    symlinkSync("../first", join(folder, "bin", "mecha"));
    expect(run(join(folder, "bin", "mecha"), ["version"]).out).toMatch(/^mecha /);
  });

  test("needs no Node when everything is there", () => {
    const { status } = run(join(root, "mecha"), ["version"], { PATH: "/not-there" });
    expect(status).toBe(0);
  });

  test("passes words on unchanged and gives back the exit code", () => {
    const { status, errors } = run(join(root, "mecha"), ["no such command", "--config=x"]);
    expect(errors).toContain("no such command");
    expect(status).not.toBe(0);
  });
});

describe("dist/mecha", () => {
  test("is one file that runs with an empty environment from any folder", async () => {
    const outfile = join(folder, "elsewhere", "mecha");
    await build({ outfile });
    const { status, out, errors } = run(outfile, ["version"]);
    expect(errors).toBe("");
    expect(out).toBe(execFileSync(join(root, "mecha"), ["version"], { encoding: "utf8" }));
    expect(status).toBe(0);
  });
});
