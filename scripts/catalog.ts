// Writes src/component/catalog.ts from the files of src/components. The path of a component is its type:
// state/redis.ts is state.redis, secretstores/local.file.ts is secretstores.local.file. A second version of a type
// lives beside the first with the version as an ending: state/redis.v2.ts.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const root = resolve(import.meta.dirname, "..");
const folder = join(root, "src", "components");
const out = join(root, "src", "component", "catalog.ts");

interface Entry {
  file: string;
  type: string;
  version: string;
}

/** The catalog as it should be. Throws with every component whose type does not fit its path. */
export async function renderCatalog(): Promise<string> {
  const entries = await Promise.all(componentFiles().map(readEntry));
  const wrong = entries.filter((entry) => !fitsPath(entry));
  if (wrong.length > 0) {
    const lines = wrong.map(
      ({ file, type, version }) => `src/components/${file} declares ${type} ${version}`,
    );
    throw new Error(`the path of a component is its type:\n${lines.join("\n")}`);
  }
  const rows = entries
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    .map((entry) => row(keyOf(entry), `../components/${entry.file}`));
  return `${heading}\n${rows.join("\n")}\n};\n`;
}

/** The catalog as it is; empty when there is none. */
export function currentCatalog(): string {
  try {
    return readFileSync(out, "utf8");
  } catch {
    return "";
  }
}

const heading = `// Written by \`bun run catalog\` from the files of src/components. Do not edit.
import type { ComponentDefinition } from "./component.ts";

/** Loads the file of a component; nothing of it is read before a resource names it. */
export type ComponentLoader = () => Promise<{ default: ComponentDefinition }>;

/** Every built-in component by type and version. */
export const catalog: Readonly<Record<string, ComponentLoader>> = {`;

/** Component files relative to src/components. Shared connections and tests are none. */
export function componentFiles(): string[] {
  const names = (readdirSync(folder, { recursive: true }) as string[]).map((name) =>
    name.replaceAll("\\", "/"),
  );
  return names
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts") && !name.startsWith("clients/"))
    .sort();
}

async function readEntry(file: string): Promise<Entry> {
  const module = (await import(pathToFileURL(join(folder, file)).href)) as { default?: unknown };
  const { type, version } = (module.default ?? {}) as { type?: unknown; version?: unknown };
  if (typeof type !== "string" || typeof version !== "string") {
    throw new Error(`src/components/${file} has no default export made by component({ type, version, … })`);
  }
  return { file, type, version };
}

function fitsPath({ file, type, version }: Entry): boolean {
  const path = file.replace(/\.ts$/, "").replaceAll("/", ".");
  return path === type || path === `${type}.${version}`;
}

function keyOf({ type, version }: Entry): string {
  return `${type}/${version}`;
}

/** As the formatter would write it, so that the file needs no second pass. */
function row(key: string, path: string): string {
  const line = `  "${key}": () => import("${path}"),`;
  return line.length <= 110 ? line : `  "${key}": () =>\n    import("${path}"),`;
}

if (import.meta.main) {
  const wanted = await renderCatalog();
  const isStale = currentCatalog() !== wanted;
  if (isStale) writeFileSync(out, wanted);
  console.log(`src/component/catalog.ts ${isStale ? "is written" : "was up to date"}`);
}
