// What loads what: files that nobody imports, and packages that every start would pay for.
import { areaOf } from "./layers.ts";
import { isTest, packageOf, type SourceFile, targetOf } from "./source-file.ts";

/** Files of src that no entry reaches. An entry is what a person, npm, a worker or another repository starts from. */
export function deadFiles(files: SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const open = files.filter((file) => isEntry(file.path)).map((file) => file.path);
  while (open.length > 0) {
    const path = open.pop() as string;
    if (reached.has(path)) continue;
    reached.add(path);
    const file = byPath.get(path);
    for (const one of file?.imports ?? []) {
      const target = targetOf(file as SourceFile, one);
      if (target !== undefined) open.push(target);
    }
  }
  return files
    .map((file) => file.path)
    .filter(
      (path) => path.startsWith("src/") && !path.endsWith(".d.ts") && !isTest(path) && !reached.has(path),
    );
}

/** Tests are no entry: what only its own test uses is dead. */
function isEntry(path: string): boolean {
  if (path === "src/main.ts" || path.endsWith(".worker.ts")) return true;
  if (path.startsWith("src/testing/") && !isTest(path)) return true;
  return /^(scripts|bench|examples)\//.test(path);
}

/** Small, or needed by every start. All other packages are loaded when something asks for them. */
const eagerPackages = new Set(["@bufbuild/protobuf", "yaml", "croner"]);
const alwaysLoaded = new Set(["main.ts", "cli", "host", "transport", "api"]);

/** Chains of eager imports from the always loaded parts to a heavy package. */
export function eagerLoads(files: SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const starts = files.filter((file) => alwaysLoaded.has(areaOf(file.path) ?? "") && !isTest(file.path));
  const chains = starts.flatMap((file) => chainToPackage(file, byPath));
  return [...new Set(chains)];
}

/** The shortest chain from a file to a heavy package, if there is one. */
function chainToPackage(start: SourceFile, byPath: Map<string, SourceFile>): string[] {
  const seen = new Set([start.path]);
  const open = [[start]];
  for (const chain of open) {
    for (const one of chain.at(-1)?.imports ?? []) {
      if (one.kind !== "eager") continue;
      const name = packageOf(one);
      if (name !== undefined && !eagerPackages.has(name))
        return [[...chain.map((file) => file.path), name].join(" → ")];
      const next = byPath.get(targetOf(chain.at(-1) as SourceFile, one) ?? "");
      if (next === undefined || seen.has(next.path)) continue;
      seen.add(next.path);
      open.push([...chain, next]);
    }
  }
  return [];
}
