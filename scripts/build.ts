// `npm run build`: one executable, dist/mecha, that needs neither this checkout nor Bun nor Node.
//   --outfile PATH   write it elsewhere
//   --target NAME    build for another system: bun-linux-arm64, bun-darwin-arm64, bun-linux-x64-baseline …
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, posix, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { BunPlugin } from "bun";
import { asProgram, InstallError, install, root } from "./install.mjs";

interface BuildOptions {
  outfile: string;
  target?: string | undefined;
  /** The folder that holds main.ts and everything it imports. */
  source?: string;
}

/** Compiles to `outfile` and returns its size in bytes. */
export async function build({ outfile, target, source = join(root, "src") }: BuildOptions): Promise<number> {
  mkdirSync(dirname(outfile), { recursive: true });
  const result = await Bun.build({
    // Native and optional: ssh2 does without it.
    external: ["cpu-features"],
    entrypoints: [join(source, "main.ts"), ...workerFiles(source)],
    root: source,
    target: "bun",
    format: "esm",
    minify: true,
    bytecode: true,
    plugins: [workerPaths(source, target), wasmInside],
    throw: false,
    compile: {
      outfile,
      ...(target === undefined ? {} : { target: target as Bun.Build.CompileTarget }),
      // The folder an executable is started in belongs to somebody's application: its settings are not ours.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
  });
  if (!result.success)
    throw new InstallError(`the build failed\n${result.logs.map(String).join("\n")}`, undefined);
  return statSync(outfile).size;
}

/** Files that run in their own thread: not reachable through imports, so each is an entry of the bundle. */
function workerFiles(source: string): string[] {
  const names = readdirSync(source, { recursive: true }) as string[];
  return names
    .filter((name) => name.endsWith(".worker.ts"))
    .map((name) => join(source, name))
    .sort();
}

/** Bundling moves code away from the workers it names by `new URL("./x.worker.ts", import.meta.url)`: names them anew. */
function workerPaths(source: string, target: string | undefined): BunPlugin {
  const inside =
    target?.includes("windows") || process.platform === "win32" ? "B:/~BUN/root" : "/$bunfs/root";
  return {
    name: "worker-paths",
    setup(builder) {
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        if (!text.includes(".worker.ts")) return undefined;
        const folder = relative(source, dirname(path)).replaceAll("\\", "/");
        const contents = text.replace(
          /new URL\(\s*"([^"]+\.worker\.ts)",\s*import\.meta\.url,?\s*\)/g,
          (_, name: string) => JSON.stringify(posix.join(inside, folder, name.replace(/\.ts$/, ".js"))),
        );
        return { contents, loader: "ts" };
      });
    },
  };
}

/** The library of `@platformatic/kafka` reads a file beside itself, of which the executable has none; it has a form without. */
const wasmInside: BunPlugin = {
  name: "wasm-inside",
  setup(builder) {
    builder.onResolve({ filter: /^@platformatic\/wasm-utils$/ }, ({ importer }) => ({
      path: Bun.resolveSync("@platformatic/wasm-utils/bundled", dirname(importer)),
    }));
  },
};

if (import.meta.main) {
  await asProgram(async () => {
    const { values } = parseArgs({ options: { outfile: { type: "string" }, target: { type: "string" } } });
    await install((line) => console.log(`· ${line}`));
    const outfile = resolve(values.outfile ?? join(root, "dist", "mecha"));
    const startedMs = Date.now();
    const bytes = await build({ outfile, target: values.target });
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    console.log(`${outfile}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds} s`);
  });
}
