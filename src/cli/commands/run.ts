import { resolve } from "node:path";
import { leaseTimes } from "../../engine/leases/elections.ts";
import { choosePorts, type NodeApp, type RunningNode, startNode } from "../../host/node.ts";
import type { RuntimeOptions } from "../../host/options.ts";
import { selfCommand } from "../../host/self.ts";
import { onStopSignals } from "../../host/signals.ts";
import { supervise } from "../../host/supervise.ts";
import { createLog } from "../../telemetry/log.ts";
import { type CommandContext, command } from "../command.ts";
import { type Flag, FlagValues, UsageError } from "../flags.ts";
import { banner } from "../output/banner.ts";
import { linePrefix, type PrefixOptions } from "../output/prefix.ts";
import { type RunFile, type RunFileApp, readRunFile } from "../run-file.ts";
import { chooseUntakenPorts, givenPorts, leaveOpenPorts, portWords } from "../run-ports.ts";
import { quotaFlags, runtimeFlags, runtimeOptions, storeFlag } from "../runtime-flags.ts";

const ownFlags: readonly Flag[] = [
  storeFlag,
  {
    name: "run-file",
    short: "f",
    type: "text",
    default: "",
    placeholder: "FILE",
    description: "multi-app run file, or a folder that holds one",
  },
  {
    name: "sidecars",
    type: "boolean",
    default: false,
    description: "with -f: one runtime process per app instead of one for all",
  },
  {
    name: "started-by",
    type: "text",
    default: "",
    hidden: true,
    description: "the run file that a process of --sidecars belongs to",
  },
  {
    name: "restart",
    type: "text",
    default: "never",
    choices: ["never", "on-failure", "always"],
    description: "start the app again when it ends",
  },
  {
    name: "data-dir",
    type: "text",
    default: "",
    description: "data folder (default: $MECHA_HOME or ~/.mecha)",
  },
  {
    name: "dashboard-port",
    type: "number",
    default: 0,
    description: "port of the dashboard; 0: no dashboard",
  },
  {
    name: "runtime-log",
    type: "text",
    default: "console",
    choices: ["console", "file", "fileAndConsole"],
    description: "where the runtime's log goes",
  },
  {
    name: "app-log",
    type: "text",
    default: "fileAndConsole",
    choices: ["console", "file", "fileAndConsole"],
    description: "where the app's output goes",
  },
];

export const runFlags: readonly Flag[] = [...runtimeFlags, ...quotaFlags, ...ownFlags];

const appFlags: readonly Flag[] = [...runtimeFlags, ...quotaFlags];

export default command({
  name: "run",
  category: "run",
  summary: "Run an app with its runtime, or many apps from a file",
  usage: "mecha run [flags] -- COMMAND... | mecha run -f FILE [--sidecars]",
  flags: runFlags,
  stopAtPositional: true,
  examples: [
    "mecha run --app-id orders --app-port 8080 -- node app.js",
    "mecha run --app-id orders            (the runtime alone)",
    "mecha run -f mecha.yaml              (all apps in one runtime process)",
  ],
  run: (context) => runApps(context, () => undefined),
});

/** `run` and `dev`: `onReady` gets the running node to watch it. */
export async function runApps(
  context: CommandContext,
  onReady: (node: RunningNode, apps: readonly NodeApp[]) => void,
): Promise<number> {
  const runFile = context.values.text("run-file");
  if (runFile !== "" && context.values.boolean("sidecars")) return runSidecars(context, readRunFile(runFile));
  const startedAt = performance.now();
  const file = runFile === "" ? undefined : readRunFile(runFile);
  const apps = file === undefined ? [await singleApp(context)] : await fileApps(context, file);
  const log = createLog({
    level: "info",
    asJson: false,
    appId: "mecha",
    instance: "mecha",
    version: "",
    write: () => undefined,
  });
  const node = await startNode({
    apps,
    dataFolder: context.values.text("data-dir") || undefined,
    store: context.values.text("store") || undefined,
    env: context.env,
    folder: context.folder,
    runFile: file?.path ?? (context.values.text("started-by") || undefined),
    talk: context.talk,
    log,
    onReady: async (running) => {
      const dashboard = await openDashboard(context, running);
      context.talk(banner(running, performance.now() - startedAt, dashboard));
      onReady(running, apps);
    },
  });
  const signalled = onStopSignals((code) => void node.stop(code));
  const code = await node.ended;
  signalled.forget();
  return code;
}

async function openDashboard(context: CommandContext, node: RunningNode): Promise<string | undefined> {
  const port = context.values.number("dashboard-port");
  if (port === 0) return undefined;
  const { openDashboard: open } = await import("../../dashboard/server.ts");
  return open({ port, runtimes: node.runtimes, store: node.host.store });
}

async function singleApp(context: CommandContext): Promise<NodeApp> {
  const { values, env } = context;
  const command = context.rest ?? context.positionals;
  const appId = values.text("app-id") || defaultAppId(command, context.folder);
  const options = await choosePorts(
    { ...runtimeOptions(values, env), appId },
    { has: (flag) => values.isGiven(flag) },
  );
  return {
    options: withLoopback(options, env),
    command,
    folder: context.folder,
    env: plainEnv(env),
    restart: values.text("restart") as NodeApp["restart"],
    dependsOn: [],
    onLine: printer(context, [appId], {
      app: values.text("app-log") !== "file",
      runtime: values.text("runtime-log") !== "file",
    })(appId),
    logs: { app: values.text("app-log") !== "console", runtime: values.text("runtime-log") !== "console" },
  };
}

/** Without --app-id: the folder's name, as `mecha run -- node app.js` needs no flags. */
function defaultAppId(command: readonly string[], folder: string): string {
  if (command.length === 0) throw new UsageError("--app-id is needed to run the runtime alone");
  const name = folder.split("/").at(-1) ?? "";
  const id = name
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return id === "" ? "app" : id;
}

async function fileApps(context: CommandContext, file: RunFile): Promise<NodeApp[]> {
  const print = printer(
    context,
    file.apps.map((app) => app.appId),
  );
  const apps: NodeApp[] = [];
  const taken = givenPorts(file);
  for (const app of file.apps) {
    const values = valuesOf(app);
    const env = {
      ...context.env,
      ...app.env,
      ...(app.apiToken === undefined ? {} : { DAPR_API_TOKEN: app.apiToken }),
    };
    const base = { ...runtimeOptions(values, env), appId: app.appId };
    const isSingleton = app.singletonLeaseMs !== undefined;
    const options = isSingleton
      ? await leaveOpenPorts(base, values)
      : await chooseUntakenPorts(base, values, taken);
    apps.push({
      options: withLoopback(options, context.env),
      command: app.command,
      folder: app.folder,
      env: { ...plainEnv(context.env), ...app.env },
      restart: app.restart,
      dependsOn: app.dependsOn,
      onLine: print(app.appId, { app: app.appLog !== "file", runtime: app.daprdLog !== "file" }),
      logs: { app: app.appLog !== "console", runtime: app.daprdLog !== "console" },
      singleton: app.singletonLeaseMs === undefined ? undefined : leaseTimes(app.singletonLeaseMs),
      probes: mapValues(app.probes, (probe) => probe(options.appPort)),
    });
  }
  return apps;
}

function mapValues<K extends string, A, B>(
  record: Partial<Record<K, A>>,
  change: (value: A) => B,
): Partial<Record<K, B>> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, change(value as A)]),
  ) as Partial<Record<K, B>>;
}

/** The file's values, checked as if they had been flags. */
function valuesOf(app: RunFileApp): FlagValues {
  const given = new Map<string, string | number | boolean | string[]>();
  for (const [name, value] of app.flags) {
    const flag = appFlags.find((each) => each.name === name);
    if (flag?.type === "number" && typeof value !== "number") {
      if (flag.takesAuto && value === "auto") given.set(name, -1);
      else throw new UsageError(`app ${app.appId}: ${name} is "${String(value)}": not a number`);
    } else if (flag?.type === "list" && !Array.isArray(value)) given.set(name, String(value).split(","));
    else given.set(name, flag?.type === "text" ? String(value) : value);
  }
  return new FlagValues(appFlags, given);
}

/** A developer's machine: loopback only, unless addresses were given, or the one that other machines call. */
function withLoopback(options: RuntimeOptions, env: CommandContext["env"]): RuntimeOptions {
  if (options.listenAddresses.length > 0) return options;
  return {
    ...options,
    listenAddresses: ["127.0.0.1", "::1"],
    internalGrpcListenAddress: options.internalGrpcListenAddress || (env.DAPR_HOST_IP ? "" : "127.0.0.1"),
    metricsListenAddress: "127.0.0.1",
  };
}

/**
 * What apps get of mecha's own environment: not the store's address, which holds a password, nor the secret of all
 * runtimes, with which an app could call as any other.
 */
function plainEnv({
  MECHA_STORE: _,
  MECHA_PEER_TOKEN: __,
  ...env
}: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** Prefixed output: `orders │ line`; the runtime's own lines as `orders ⚙`. */
function printer(
  context: CommandContext,
  ids: readonly string[],
  always?: { app: boolean; runtime: boolean },
) {
  const width = Math.max(...ids.map((id) => id.length)) + 2;
  const style: PrefixOptions = { isTerminal: context.isTerminal, env: context.env, width };
  return (appId: string, shown = always ?? { app: true, runtime: true }): NodeApp["onLine"] => {
    const prefixes = { app: linePrefix(appId, style), runtime: linePrefix(`${appId} *`, style) };
    return (line, source) => {
      if (shown[source]) context.out(`${prefixes[source]}${line}\n`);
    };
  };
}

/** `--sidecars`: this process only supervises; each app gets a `mecha run` of its own. */
async function runSidecars(context: CommandContext, file: RunFile): Promise<number> {
  const single = file.apps.find((app) => app.singletonLeaseMs !== undefined);
  if (single !== undefined) {
    throw new UsageError(
      `${file.path}: singleton of app ${single.appId} needs a node: leave --sidecars away`,
    );
  }
  const print = printer(
    context,
    file.apps.map((app) => app.appId),
  );
  const dataFolder = context.values.text("data-dir");
  // The sidecars run in the folders of their apps.
  const dataWords = dataFolder === "" ? [] : ["--data-dir", resolve(context.folder, dataFolder)];
  refuseNodeOnly(context, file);
  const ports = await sidecarPorts(context, file);
  const store = context.values.text("store") || context.env.MECHA_STORE;
  const sidecars = file.apps.map(withToken).map((app) =>
    supervise({
      name: app.appId,
      command: [
        ...selfCommand(),
        "run",
        "--app-id",
        app.appId,
        ...flagWords(app),
        ...(ports.get(app.appId) ?? []),
        `--restart=${app.restart}`,
        `--app-log=${app.appLog}`,
        `--runtime-log=${app.daprdLog}`,
        `--started-by=${file.path}`,
        ...dataWords,
        "--",
        ...app.command,
      ],
      folder: app.folder,
      // Not among the arguments, which every user of the machine can read.
      env: { ...plainEnv(context.env), ...app.env, ...(store ? { MECHA_STORE: store } : {}) },
      // The sidecar starts its app again; the sidecar itself is started again when it crashed.
      restart: app.restart === "never" ? "never" : "on-failure",
      stopTimeoutMs: 15_000,
      onLine: (line) => print(app.appId)(line.replace(/^\S+( \*)?\s+│ /, ""), "app"),
    }),
  );
  let code = 0;
  const stop = async (with_: number): Promise<void> => {
    code = with_;
    await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  };
  const signalled = onStopSignals((with_) => void stop(with_));
  const codes = await Promise.all(sidecars.map((sidecar) => sidecar.ended));
  signalled.forget();
  return code !== 0 ? code : (codes.find((each) => each !== 0) ?? 0);
}

/** All chosen here: sidecars that start at once would find the same ones free. */
async function sidecarPorts(context: CommandContext, file: RunFile): Promise<Map<string, string[]>> {
  const words = new Map<string, string[]>();
  const taken = givenPorts(file);
  for (const app of file.apps) {
    const values = valuesOf(app);
    const options = await chooseUntakenPorts(runtimeOptions(values, context.env), values, taken);
    words.set(app.appId, portWords(options, values));
  }
  return words;
}

/** In the environment, where only its owner reads it. */
function withToken(app: RunFileApp): RunFileApp {
  const { apiToken } = app;
  return apiToken === undefined ? app : { ...app, env: { ...app.env, DAPR_API_TOKEN: apiToken } };
}

/** What only one process for all apps can do is not passed over in silence. */
function refuseNodeOnly(context: CommandContext, file: RunFile): void {
  for (const { appId, dependsOn, probes } of file.apps) {
    const [probe] = Object.keys(probes);
    if (probe !== undefined)
      throw new UsageError(
        `app ${appId}: ${probe}Probe needs all apps in one process`,
        "leave --sidecars out",
      );
    if (dependsOn.length > 0) context.talk(`app ${appId}: --sidecars does not wait for what it depends on\n`);
  }
}

function flagWords(app: RunFileApp): string[] {
  return [...app.flags].flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((each) => `--${name}=${each}`),
  );
}
