// `npm start [-- --once]`: the checkout demo. Two apps, one runtime that is killed three times, nothing lost.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { asProgram, bunPath, install, root } from "./install.mjs";

await asProgram(() => install((line) => console.log(`· ${line}`)));
const demo = join(root, "examples", "checkout", "demo.ts");
const run = spawnSync(bunPath, [demo, ...process.argv.slice(2)], { stdio: "inherit" });
process.exit(run.status ?? 1);
