// Who may import whom (ARCHITECTURE.md, "The tree"): lower never knows higher, and siblings do not know each other.
import { type SourceFile, targetOf } from "./source-file.ts";

const below = "resource telemetry errors.ts kit edges wire";

/** Folders of src/ and what each may import besides itself. `type:x` allows `import type` from x, and its types.ts. */
const mayImport: Record<string, string> = {
  "main.ts": "cli",
  cli: `host dashboard control engine engine/store component pluggable net ${below}`,
  dashboard: `host api type:engine/store net ${below}`,
  host: `transport api engine engine/store policy app peer control component components pluggable net ${below}`,
  transport: `api policy net ${below}`,
  api: `engine component app peer policy type:net ${below}`,
  engine: `engine/store component app peer policy type:net ${below}`,
  // The store is what the engine stands on, and where processes of one machine find each other (peer/).
  "engine/store": "telemetry errors.ts kit edges wire",
  policy: below,
  app: `net ${below}`,
  peer: `engine/store type:app net ${below}`,
  control: `net ${below}`,
  components: "component kit errors.ts net engine/store type:edges type:telemetry type:engine",
  // Components of other processes: made at run time, so not in the catalog.
  pluggable: "component net wire kit errors.ts edges type:telemetry",
  component: "kit wire errors.ts type:net type:edges type:telemetry type:resource",
  resource: "kit wire errors.ts type:edges type:telemetry",
  telemetry: "kit type:edges type:net",
  "errors.ts": "faults",
  faults: "kit wire",
  net: "kit edges",
  edges: "kit",
  kit: "",
  wire: "",
  // The published test kit drives whole runtimes, so it may see all but the command line.
  testing: `host transport api engine engine/store policy app peer component components net ${below}`,
};

/** Everything in a file that crosses the table above, as `path:line what`. */
export function layerBreaks(file: SourceFile): string[] {
  const from = areaOf(file.path);
  if (from === undefined) return [];
  const allowed = mayImport[from]?.split(" ");
  if (allowed === undefined) return [`${file.path}:1 src/${from} is not in the table of test/tidy/layers.ts`];
  return file.imports.flatMap((one) => {
    const target = targetOf(file, one);
    const to = target === undefined ? undefined : areaOf(target);
    if (to === undefined || target === undefined) return [];
    if (isAllowed(file.path, from, to, target, allowed, one.kind)) return [];
    return [
      `${file.path}:${one.line} ${from} may not import ${one.kind === "type" ? "types of " : ""}${to} (${one.specifier})`,
    ];
  });
}

function isAllowed(
  path: string,
  from: string,
  to: string,
  target: string,
  allowed: string[],
  kind: string,
): boolean {
  // The catalog is generated, and loads a component only when a resource names it.
  if (path === "src/component/catalog.ts" && to === "components" && kind === "lazy") return true;
  if (from === "components" && to === "components") return areSameComponent(path, target);
  if (from === to || allowed.includes(to)) return true;
  return (kind === "type" || target.endsWith("/types.ts")) && allowed.includes(`type:${to}`);
}

/** A component is one file; only a vendor's connection in clients/ is shared. */
function areSameComponent(path: string, target: string): boolean {
  return target.startsWith("src/components/clients/") || path.startsWith("src/components/clients/");
}

/** `src/api/state.ts` → `api`, `src/errors.ts` → `errors.ts`; undefined outside src. */
export function areaOf(path: string): string | undefined {
  const parts = path.split("/");
  if (parts[0] !== "src") return undefined;
  return path.startsWith("src/engine/store/") ? "engine/store" : parts[1];
}

const opensHttp = new Set(["net", "transport", "app", "peer", "dashboard", "testing"]);
const httpModules = /^node:(http|http2|https)$/;
/** Left out of the product for reasons measured in ARCHITECTURE.md (decision 1b). */
const refusedModules = new Set(["node:https", "undici", "ws"]);

/** Imports of built-in modules that break a rule. */
export function moduleBreaks(file: SourceFile): string[] {
  const area = areaOf(file.path);
  if (area === undefined) return [];
  return file.imports.flatMap((one) => {
    const at = `${file.path}:${one.line}`;
    if (refusedModules.has(one.specifier)) return [`${at} ${one.specifier} is not used here`];
    const opens = one.kind !== "type" && httpModules.test(one.specifier);
    return opens && !opensHttp.has(area) ? [`${at} ${area} may not open HTTP`] : [];
  });
}
