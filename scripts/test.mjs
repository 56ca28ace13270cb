// `npm test [-- NAME… FLAGS…]`: everything, or the suites and files whose names are given.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { asProgram, bunPath, InstallError, install, root } from "./install.mjs";
import { conclude, plan, readArguments, runJobs } from "./runner.mjs";
import { suites } from "./suites.mjs";

await asProgram(async () => {
  const selection = readArguments(process.argv.slice(2), suites);
  await install((line) => console.log(`· ${line}`));
  const jobs = plan(suites, selection);
  if (jobs.length === 0) {
    console.error(`nothing matches ${[...selection.names, ...selection.words].join(" ")}`);
    console.error(
      `hint: the suites are ${suites.map((suite) => suite.name).join(", ")}; other words are parts of file names`,
    );
    process.exit(2);
  }
  installServices(jobs);
  const results = await runJobs(jobs, { live: selection.live, env: selection.env });
  process.exitCode = conclude(results);
});

function installServices(jobs) {
  const needed = [...new Set(jobs.flatMap((job) => job.needs ?? []))];
  if (needed.length === 0) return;
  const run = spawnSync(bunPath, [join(root, "scripts", "services.ts"), "install", ...needed], {
    stdio: "inherit",
  });
  if (run.status !== 0) throw new InstallError(`the services ${needed.join(", ")} could not be installed`);
}
