// `node scripts/bun.mjs FILE ARGUMENTS…`: runs a file on the pinned Bun, after installing what is missing. The scripts of
// package.json go through it: the `bun` that npm puts first on the PATH is a stub until its install script has run,
// and install scripts are not run here.
import { spawnSync } from "node:child_process";
import { asProgram, bunPath, install, root } from "./install.mjs";

await asProgram(() => install((line) => console.error(`· ${line}`)));
const run = spawnSync(bunPath, process.argv.slice(2), { stdio: "inherit", cwd: root });
process.exit(run.status ?? 1);
