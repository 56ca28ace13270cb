// Generates src/wire/ (git-ignored) from the .proto files inside @dapr/dapr and @dapr/durabletask-js, and from proto/.
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const staging = join(root, ".tools", "wire");
const out = join(root, "src", "wire");
const stampFile = join(out, ".stamp");

const sources = [
  join(root, "node_modules/@dapr/dapr/proto/dapr"),
  join(root, "node_modules/@dapr/durabletask-js/proto"),
  join(root, "proto"),
];

/** Identifies the inputs, so that an unchanged tree costs nothing at start. */
function stamp(): string {
  const parts: string[] = [];
  for (const name of ["@dapr/dapr", "@dapr/durabletask-js", "@bufbuild/protoc-gen-es"]) {
    parts.push(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"));
  }
  for (const file of protoFiles(join(root, "proto"))) parts.push(`${file}:${statSync(file).mtimeMs}`);
  return Bun.hash(parts.join("\n")).toString(16);
}

function protoFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { recursive: true }) as string[];
  return names.filter((name) => name.endsWith(".proto")).map((name) => join(folder, name));
}

function stage(): void {
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  cpSync(sources[0] as string, join(staging, "dapr"), { recursive: true });
  cpSync(sources[1] as string, staging, { recursive: true });
  if (existsSync(sources[2] as string)) cpSync(sources[2] as string, staging, { recursive: true });
  writeFileSync(join(staging, "buf.yaml"), "version: v2\n");
  const plugin = join(root, "node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es");
  const template = {
    version: "v2",
    plugins: [
      {
        local: [process.execPath, plugin],
        out,
        opt: ["target=js+dts", "import_extension=js", "json_types=false"],
      },
    ],
  };
  writeFileSync(join(staging, "buf.gen.yaml"), JSON.stringify(template));
}

function bufBinary(): string {
  const names = readdirSync(join(root, "node_modules/@bufbuild")).filter((name) =>
    /^buf-(linux|darwin|win32)/.test(name),
  );
  const name = names[0];
  if (name === undefined) throw new Error("the buf binary is missing: run `node scripts/install.mjs`");
  return join(root, "node_modules/@bufbuild", name, "bin", "buf");
}

const wanted = stamp();
const current = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";
if (current !== wanted) {
  stage();
  rmSync(out, { recursive: true, force: true });
  mkdirSync(dirname(stampFile), { recursive: true });
  const cache = join(root, ".tools", "cache");
  mkdirSync(cache, { recursive: true });
  const run = spawnSync(bufBinary(), ["generate"], {
    cwd: staging,
    stdio: "inherit",
    env: { HOME: cache, XDG_CACHE_HOME: cache, PATH: "/usr/bin:/bin" },
  });
  if (run.status !== 0) throw new Error(`buf generate failed with status ${run.status}`);
  writeFileSync(stampFile, wanted);
}
