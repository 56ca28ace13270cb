// `npm run docs`: writes everything under docs/reference that is made from the code, and the catalog it is made from.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const generators = readdirSync(import.meta.dirname).filter((name) => name.endsWith("-reference.ts"));
// The catalog first: the reference of components is made from it. A process each: it must not be loaded stale.
for (const name of ["catalog.ts", "openapi.ts", ...generators.sort()]) {
  const run = spawnSync(process.execPath, [join(import.meta.dirname, name)], { stdio: "inherit" });
  if (run.status !== 0) throw new Error(`${name} failed`);
}
