// `npm run ok`: types, lint, tidy, unit, contract and the quick scenarios, in under a minute: for while you work.
import { install } from "./install.mjs";
import { conclude, plan, readArguments, runJobs } from "./runner.mjs";
import { suites } from "./suites.mjs";

await install((line) => console.log(`· ${line}`));
const quick = suites
  .filter(({ ok }) => ok === true)
  .map((suite) => ({ ...suite, files: suite.okFiles ?? suite.files }));
const selection = readArguments(process.argv.slice(2), quick);
const results = await runJobs(plan(quick, selection), { live: selection.live, env: selection.env });
process.exitCode = conclude(results);
