// `npm run build`: one executable, dist/mecha, that needs neither this checkout nor Bun nor Node.
//   --outfile PATH   write it elsewhere
//   --target NAME    build for another system: bun-linux-arm64, bun-darwin-arm64, bun-linux-x64-baseline …
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { asProgram, InstallError, install, root } from "./install.mjs";

/** Files that run in their own thread: not reachable through imports, so each is an entry of the bundle. */
export function workerFiles(): string[] {
  const names = readdirSync(join(root, "src"), { recursive: true }) as string[];
  return names
    .filter((name) => name.endsWith(".worker.ts"))
    .map((name) => join("src", name))
    .sort();
}

/** Compiles to `outfile` and returns its size in bytes. */
export function build({ outfile, target }: { outfile: string; target?: string | undefined }): number {
  mkdirSync(dirname(outfile), { recursive: true });
  // What the executable must not read from the folder it is started in: an application's own settings.
  const closed = ["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];
  const flags = ["--compile", "--minify", "--bytecode", "--format=esm", "--sourcemap=none", ...closed];
  const chosen = target === undefined ? [] : [`--target=${target}`];
  const run = spawnSync(
    process.execPath,
    ["build", ...flags, ...chosen, "src/main.ts", ...workerFiles(), "--outfile", outfile],
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 5 * 60_000 },
  );
  if (run.status !== 0)
    throw new InstallError(`bun build failed\n${(run.stderr || run.stdout).trim()}`, undefined);
  return statSync(outfile).size;
}

if (import.meta.main) {
  await asProgram(async () => {
    const { values } = parseArgs({ options: { outfile: { type: "string" }, target: { type: "string" } } });
    await install((line) => console.log(`· ${line}`));
    const outfile = resolve(values.outfile ?? join(root, "dist", "mecha"));
    const startedMs = Date.now();
    const bytes = build({ outfile, target: values.target });
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    console.log(`${outfile}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds} s`);
  });
}
