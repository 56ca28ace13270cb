// `npm test [-- NAME… FLAGS…]`: everything, or the suites and files whose names are given.
import { asProgram, install } from "./install.mjs";
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
  await installServices(jobs);
  const results = await runJobs(jobs, { live: selection.live, env: selection.env });
  process.exitCode = conclude(results);
});

async function installServices(jobs) {
  const needed = [...new Set(jobs.flatMap((job) => job.needs ?? []))];
  if (needed.length === 0) return;
  const { installServices: bring } = await import("./services.mjs");
  await bring(needed, (line) => console.log(`· ${line}`));
}
