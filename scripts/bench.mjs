// `npm run bench [-- NAME…]`: installs what is missing, then hands over to bench/main.ts.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { asProgram, bunPath, install, root } from "./install.mjs";

await asProgram(() => install((line) => console.error(`· ${line}`)));
const run = spawnSync(bunPath, [join(root, "bench", "main.ts"), ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(run.status ?? 1);
