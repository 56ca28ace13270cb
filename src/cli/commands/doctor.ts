import { accessSync, constants, statfsSync, statSync } from "node:fs";
import { choosePort } from "../../host/free-port.ts";
import { parseDuration } from "../../kit/duration.ts";
import { ResourceErrors } from "../../resource/problem.ts";
import { checkReachability } from "../check/reachability.ts";
import { resourcePathsOf } from "../check/resource-paths.ts";
import { type CommandContext, command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { table } from "../output/table.ts";
import { dataFolderOf, expectOk, findTarget, instancesOf, jsonFlag } from "../runtime-client.ts";

interface Check {
  name: string;
  result: "pass" | "warning" | "fail";
  detail: string;
  fix?: string;
}

const freeBytesMin = 512 << 20;

export default command({
  name: "doctor",
  category: "look",
  summary: "Check this machine, the data folder, the running apps, and that the servers of components answer",
  usage: "mecha doctor [PATH...] [-f RUN_FILE] [--timeout DURATION] [--json]",
  flags: [
    {
      name: "data-dir",
      type: "text",
      default: "",
      description: "data folder (default: $MECHA_HOME or ~/.mecha)",
    },
    {
      name: "run-file",
      short: "f",
      type: "text",
      default: "",
      description: "a run file: the components of its apps are opened",
    },
    {
      name: "timeout",
      type: "text",
      default: "5s",
      description: "longest wait for the server of a component",
    },
    jsonFlag,
  ],
  examples: ["mecha doctor", "mecha doctor resources/", "mecha doctor -f mecha.yaml --json"],
  async run(context) {
    const checks = [
      runtimeCheck(),
      ...folderChecks(context),
      await storeCheck(context),
      ...(await portChecks()),
      ...(await appChecks(context)),
      ...(await componentChecks(context)),
    ];
    if (context.values.boolean("json")) context.out(`${JSON.stringify(checks, null, 2)}\n`);
    else
      context.out(
        table(
          ["result", "check", "detail"],
          checks.map((check) => [
            check.result,
            check.name,
            check.detail + (check.fix === undefined ? "" : `; ${check.fix}`),
          ]),
        ),
      );
    return checks.some((check) => check.result === "fail") ? 1 : 0;
  },
});

/** Of the files that are named. */
async function componentChecks(context: CommandContext): Promise<Check[]> {
  const { values, positionals } = context;
  const { paths } = resourcePathsOf(positionals, values.text("run-file"));
  if (paths.length === 0) return [];
  try {
    return await checkReachability(paths, { context, timeoutMs: timeoutOf(values.text("timeout")) });
  } catch (error) {
    if (!(error instanceof ResourceErrors)) throw error;
    return [{ name: "resources", result: "fail", detail: error.message, fix: "mecha check says more" }];
  }
}

function timeoutOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(
      `--timeout ${JSON.stringify(text)}: ${(error as Error).message}`,
      "write 5s or 500ms",
    );
  }
}

function runtimeCheck(): Check {
  return { name: "Bun", result: "pass", detail: Bun.version };
}

function folderChecks(context: CommandContext): Check[] {
  try {
    const folder = dataFolderOf(context);
    accessSync(folder, constants.R_OK | constants.W_OK);
    const mode = (statSync(folder).mode & 0o777).toString(8);
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    const space: Check = {
      name: "disk space",
      result: free < freeBytesMin ? "warning" : "pass",
      detail: `${Math.round(free / 2 ** 20)} MB free`,
    };
    if (space.result === "warning") space.fix = "writes are refused when the disk is full";
    return [{ name: "data folder", result: "pass", detail: `${folder} (mode ${mode})` }, space];
  } catch (error) {
    return [
      {
        name: "data folder",
        result: "fail",
        detail: (error as Error).message,
        fix: "give another one with --data-dir",
      },
    ];
  }
}

async function checkHome(context: CommandContext) {
  const address = context.env.MECHA_STORE;
  if (address) {
    const { checkPostgresqlStore } = await import("../../engine/store/postgresql/maintenance.ts");
    return checkPostgresqlStore(address);
  }
  const { checkStore } = await import("../../engine/store/maintenance.ts");
  return checkStore(dataFolderOf(context));
}

async function storeCheck(context: CommandContext): Promise<Check> {
  try {
    const { problems, stats } = await checkHome(context);
    const [first] = problems;
    if (first !== undefined)
      return { name: "store", result: "fail", detail: first, fix: "mecha store check lists all" };
    return {
      name: "store",
      result: "pass",
      detail: `${stats.keys} keys, ${stats.messages} messages, schema ${stats.schemaVersion}`,
    };
  } catch (error) {
    return { name: "store", result: "fail", detail: (error as Error).message };
  }
}

async function portChecks(): Promise<Check[]> {
  const checks: Check[] = [];
  for (const [name, port] of [
    ["HTTP port 3500", 3500],
    ["gRPC port 50001", 50001],
    ["metrics port 9090", 9090],
  ] as const) {
    const isFree = (await choosePort(port)) === port;
    checks.push({ name, result: "pass", detail: isFree ? "free" : "taken: mecha run chooses another one" });
  }
  return checks;
}

async function appChecks(context: CommandContext): Promise<Check[]> {
  const checks: Check[] = [];
  for (const app of instancesOf(context).flatMap((record) => record.apps)) {
    const name = `app ${app.appId}`;
    try {
      const reply = await findTarget(context, app.appId).request("GET", "/v1.0/healthz");
      if (reply.status === 204)
        checks.push({ name, result: "pass", detail: `ready on port ${app.httpPort}` });
      else expectOk(reply);
    } catch (error) {
      checks.push({ name, result: "fail", detail: (error as Error).message, fix: `mecha logs ${app.appId}` });
    }
  }
  return checks;
}
