import type { Problem } from "../../resource/problem.ts";
import { formatProblem } from "../../resource/problem.ts";
import { checkPaths } from "../check/check.ts";
import { resourcePathsOf } from "../check/resource-paths.ts";
import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { jsonFlag } from "../runtime-client.ts";

export default command({
  name: "check",
  category: "look",
  summary:
    "Check resource files and run files, their references and their arithmetic, without starting anything",
  usage: "mecha check [PATH...] [-f RUN_FILE] [--app-id APP]... [--strict] [--json]",
  flags: [
    {
      name: "run-file",
      short: "f",
      type: "text",
      default: "",
      description:
        "a run file: its resources and configurations are checked, and its apps are those that there are",
    },
    {
      name: "app-id",
      type: "list",
      default: [],
      description: "an app that there is; with one or more, names of others are reported",
    },
    { name: "strict", type: "boolean", default: false, description: "warnings count as errors" },
    jsonFlag,
  ],
  examples: ["mecha check resources/", "mecha check -f mecha.yaml --strict"],
  async run(context) {
    const { values } = context;
    const { paths, apps } = subjectOf(context);
    const problems = await checkPaths({ paths, apps, env: context.env });
    if (values.boolean("json")) context.out(`${JSON.stringify(problems.map(asJson), null, 2)}\n`);
    else for (const problem of problems) context.out(`${problem.severity}: ${formatProblem(problem)}\n`);
    const errors = problems.filter(({ severity }) => severity === "error").length;
    const warnings = problems.length - errors;
    if (!values.boolean("json")) context.talk(`${count(errors, "error")}, ${count(warnings, "warning")}\n`);
    return errors > 0 || (values.boolean("strict") && warnings > 0) ? 1 : 0;
  },
});

function subjectOf({ values, positionals }: CommandContext): {
  paths: string[];
  apps: ReadonlySet<string> | undefined;
} {
  const named = values.list("app-id");
  const file = values.text("run-file");
  const { paths, apps: runApps } = resourcePathsOf(positionals, file);
  if (paths.length === 0 && file === "") {
    throw new UsageError("nothing to check", "name a folder or a file with resources, or a run file with -f");
  }
  const apps = [...named, ...runApps];
  return { paths, apps: apps.length === 0 ? undefined : new Set(apps) };
}

function asJson({ severity, message, source }: Problem): object {
  return { severity, message, ...source };
}

function count(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? "" : "s"}`;
}
