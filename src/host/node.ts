import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import type { LeaseTimes } from "../engine/leases/candidate.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type AppRuntime, openAppRuntime } from "./app-runtime.ts";
import { choosePort } from "./free-port.ts";
import { type Host, openHost } from "./host.ts";
import { describeRuntime, type InstanceApp, removeInstance, startTicks, writeInstance } from "./instances.ts";
import type { MovablePort, RuntimeOptions } from "./options.ts";
import { type Probes, type Probing, startProbing } from "./probe.ts";
import { SingletonApp, stopTimeoutOf } from "./singleton-app.ts";
import { type RestartPolicy, type Supervised, supervise } from "./supervise.ts";

/** One app of a node: its runtime's options and, when mecha starts it, its process. */
export interface NodeApp {
  options: RuntimeOptions;
  /** Empty: the app is started by somebody else. */
  command: readonly string[];
  folder: string;
  env: Record<string, string>;
  restart: RestartPolicy;
  dependsOn: readonly string[];
  /** Takes each line of the app and of its runtime. */
  onLine: (line: string, source: "app" | "runtime") => void;
  logs: { app: boolean; runtime: boolean };
  probes?: Probes;
  /** Present: one of the nodes that share the store runs it, the others stand by. */
  singleton?: LeaseTimes | undefined;
}

export interface NodeOptions {
  apps: readonly NodeApp[];
  dataFolder: string | undefined;
  store?: string | undefined;
  env: Record<string, string | undefined>;
  folder: string;
  runFile: string | undefined;
  talk: (text: string) => void;
  log: Log;
  onReady?: (node: RunningNode) => Promise<void> | void;
}

export interface RunningNode {
  readonly host: Host;
  readonly runtimes: readonly AppRuntime[];
  /** Resolves with the exit code when the node has ended: an app ended for good, or it was stopped. */
  readonly ended: Promise<number>;
  stop(code: number): Promise<void>;
  /** Ends the app's process and starts it again (`mecha dev`). */
  restartApp(appId: string): Promise<void>;
}

/** Runs many apps in one runtime process; each with its own ports, token, components and log. */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const { dataFolder, store, env, log } = options;
  const host = await openHost({ dataFolder, store, env, log, write: () => undefined });
  const node = new Node(host, options);
  try {
    await node.start();
    await options.onReady?.(node);
    return node;
  } catch (error) {
    await node.stop(1);
    throw error;
  }
}

class Node implements RunningNode {
  readonly host: Host;
  readonly runtimes: AppRuntime[] = [];
  readonly ended: Promise<number>;
  private readonly options: NodeOptions;
  private readonly processes = new Map<string, Supervised>();
  private readonly probings = new Map<string, Probing>();
  private readonly singletons = new Map<string, SingletonApp>();
  private readonly records: InstanceApp[] = [];
  private readonly files: WriteStream[] = [];
  private readonly startedAt = new Date().toISOString();
  private finish: (code: number) => void = () => undefined;
  private stopping: Promise<void> | undefined;

  constructor(host: Host, options: NodeOptions) {
    this.host = host;
    this.options = options;
    this.ended = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  /** Runtimes first, so that an app finds its API when it starts; then the apps in the order of their dependencies. */
  async start(): Promise<void> {
    const { apps } = this.options;
    for (const app of apps) if (app.singleton === undefined) await this.openRuntime(app);
    this.save();
    for (const app of inOrder(apps)) {
      if (app.singleton === undefined) await this.startProcess(app);
      else this.standBy(app, app.singleton);
    }
  }

  stop(code: number): Promise<void> {
    this.stopping ??= this.close().finally(() => this.finish(code));
    return this.stopping;
  }

  async restartApp(appId: string): Promise<void> {
    await this.processes.get(appId)?.restart();
  }

  /** Inflow stops, apps end in reverse order, then their runtimes close. */
  private async close(): Promise<void> {
    for (const probing of this.probings.values()) probing.close();
    await Promise.all([...this.singletons.values()].map((singleton) => singleton.close()));
    await Promise.all(this.runtimes.map((runtime) => runtime.drain()));
    for (const app of inOrder(this.options.apps).reverse())
      await this.processes.get(app.options.appId)?.stop();
    await Promise.all(this.runtimes.map((runtime) => runtime.close()));
    removeInstance(this.host.dataFolder, process.pid);
    await this.host.close();
    await Promise.all(this.files.map((file) => new Promise((done) => file.end(done))));
  }

  private async openRuntime(app: NodeApp): Promise<void> {
    const sink = this.logFile(app, "runtime");
    const write = (text: string): void => {
      sink?.write(text);
      for (const line of text.trimEnd().split("\n")) app.onLine(line, "runtime");
    };
    // What the Dapr CLI tells its runtimes of itself (dapr-api.md §3.6).
    const extendedMetadata: Record<string, string> = {
      ...app.options.extendedMetadata,
      cliPID: String(process.pid),
    };
    if (app.command.length > 0) extendedMetadata.appCommand = app.command.join(" ");
    const options = { ...app.options, extendedMetadata };
    const runtime = await openAppRuntime({ host: this.host, options, write });
    this.runtimes.push(runtime);
    runtime.onShutdown(({ force }) => (force ? process.exit(1) : void this.stop(0)));
    this.records.push(recordOf(app, runtime, this.host.dataFolder));
  }

  private standBy(app: NodeApp, times: LeaseTimes): void {
    const { appId, namespace } = app.options;
    const singleton = new SingletonApp({
      ...{ host: this.host, namespace, appId, times },
      talk: (text) => this.options.talk(text),
      activate: async () => {
        await this.openRuntime(app);
        this.save();
        // Losing it meanwhile is the next thing to happen; a process would only be started to be killed.
        if (singleton.isLeading) await this.startProcess(app);
      },
      deactivate: () => this.closeRuntime(appId),
    });
    this.singletons.set(appId, singleton);
    singleton.start();
  }

  private async closeRuntime(appId: string): Promise<void> {
    this.probings.get(appId)?.close();
    const process = this.processes.get(appId);
    this.processes.delete(appId);
    await process?.stop();
    this.singletons.get(appId)?.unguard();
    const index = this.runtimes.findIndex((runtime) => runtime.options.appId === appId);
    const [runtime] = index < 0 ? [] : this.runtimes.splice(index, 1);
    const record = this.records.findIndex((each) => each.appId === appId);
    if (record >= 0) this.records.splice(record, 1);
    this.save();
    await runtime?.close();
  }

  private async startProcess(app: NodeApp): Promise<void> {
    const { appId } = app.options;
    const runtime = this.runtimes.find((each) => each.options.appId === appId);
    if (app.command.length === 0 || runtime === undefined) return;
    for (const needed of app.dependsOn) {
      await this.runtimes.find((each) => each.options.appId === needed)?.initialised;
      await this.probings.get(needed)?.ready;
    }
    const sink = this.logFile(app, "app");
    const env = { ...app.env, ...appEnvironment(runtime) };
    const process = supervise({
      name: appId,
      command: app.command,
      folder: app.folder,
      env,
      restart: app.restart,
      stopTimeoutMs: app.singleton
        ? stopTimeoutOf(app.singleton)
        : Math.max(1000, app.options.gracefulShutdownSeconds * 1000),
      onLine: (line) => {
        sink?.write(`${line}\n`);
        app.onLine(line, "app");
      },
      onState: (state) => {
        this.probings.get(appId)?.close();
        if (state.name !== "running") this.singletons.get(appId)?.unguard();
        if (state.name === "running") {
          this.singletons.get(appId)?.guard(state.pid);
          this.setAppPid(appId, state.pid);
          this.probe(app, runtime, env);
        }
        if (state.name === "backing-off") {
          this.options.talk(`app ${appId} ended (${state.exit}); starting it again in ${state.delayMs} ms\n`);
        }
        if (state.name === "exited") this.options.talk(`app ${appId} ended (${state.exit})\n`);
      },
    });
    this.processes.set(appId, process);
    void process.ended.then((code) => {
      // One that was taken from here has not ended.
      if (this.processes.get(appId) === process) this.onAppEnd(appId, code);
    });
  }

  /** An unready app gets no messages; a dead one is started again. */
  private probe(app: NodeApp, runtime: AppRuntime, env: Record<string, string>): void {
    const { probes } = app;
    if (probes === undefined || Object.keys(probes).length === 0) return;
    const { appId } = app.options;
    const probing = startProbing({
      probes,
      httpClient: this.host.httpClient,
      sockets: this.host.edges.sockets,
      folder: app.folder,
      env,
      onReady: (isReady) => {
        this.options.talk(`app ${appId} is ${isReady ? "ready" : "not ready"}\n`);
        const { pubsub, actors } = runtime.scope;
        void (isReady ? pubsub.resume() : pubsub.pause());
        void (isReady ? actors.resume() : actors.pause());
      },
      onDead: (which, reason) => {
        this.options.talk(`app ${appId} failed its ${which} probe (${reason}): starting it again\n`);
        void this.restartApp(appId);
      },
    });
    this.probings.set(appId, probing);
  }

  /** The node lives as long as one of the apps that it started. */
  private onAppEnd(appId: string, code: number): void {
    if (this.stopping !== undefined) return;
    this.processes.delete(appId);
    this.setAppPid(appId, undefined);
    const singleton = this.singletons.get(appId);
    this.singletons.delete(appId);
    if (this.processes.size === 0 && this.singletons.size === 0) void this.stop(code);
    else void singleton?.close();
  }

  private setAppPid(appId: string, pid: number | undefined): void {
    const record = this.records.find((each) => each.appId === appId);
    if (record !== undefined) record.appPid = pid;
    const metadata = this.runtimes.find((each) => each.options.appId === appId)?.scope.extendedMetadata;
    if (pid === undefined) metadata?.delete("appPID");
    else metadata?.set("appPID", String(pid));
    this.save();
  }

  private save(): void {
    writeInstance(this.host.dataFolder, {
      pid: process.pid,
      startTicks: startTicks(process.pid),
      startedAt: this.startedAt,
      folder: this.options.folder,
      runFile: this.options.runFile,
      apps: this.records,
    });
  }

  private logFile(app: NodeApp, source: "app" | "runtime"): WriteStream | undefined {
    if (!app.logs[source]) return undefined;
    const path = logPath(this.host.dataFolder, app.options.appId, source);
    const file = createWriteStream(path, { flags: "w", mode: 0o600 });
    file.on("error", () => undefined);
    this.files.push(file);
    return file;
  }
}

function logPath(dataFolder: string, appId: string, source: "app" | "runtime"): string {
  const folder = join(dataFolder, "logs");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, `${appId}_${source}.log`);
}

function recordOf(app: NodeApp, runtime: AppRuntime, dataFolder: string): InstanceApp {
  const { appId } = runtime.options;
  const hasProcess = app.command.length > 0;
  return {
    ...describeRuntime(runtime),
    command: app.command.join(" "),
    appLogFile: app.logs.app && hasProcess ? logPath(dataFolder, appId, "app") : undefined,
    runtimeLogFile: app.logs.runtime ? logPath(dataFolder, appId, "runtime") : undefined,
  };
}

/** What the Dapr CLI gives an app: the SDKs read it (dapr-api.md §1.2). */
export function appEnvironment({
  options,
  ports,
  tokens,
}: Pick<AppRuntime, "options" | "ports" | "tokens">): Record<string, string> {
  const env: Record<string, string> = {
    APP_ID: options.appId,
    DAPR_HTTP_PORT: String(ports.http),
    DAPR_GRPC_PORT: String(ports.grpc),
    DAPR_METRICS_PORT: String(ports.metrics),
    APP_PROTOCOL: options.appProtocol,
  };
  if (options.appPort > 0) env.APP_PORT = String(options.appPort);
  if (options.appPort > 0) env.PORT = String(options.appPort);
  if (tokens.api[0] !== undefined) env.DAPR_API_TOKEN = tokens.api[0];
  if (tokens.app !== undefined) env.APP_API_TOKEN = tokens.app;
  if (options.unixDomainSocket !== "") {
    env.DAPR_GRPC_SOCKET = join(options.unixDomainSocket, `dapr-${options.appId}-grpc.socket`);
    env.DAPR_HTTP_SOCKET = join(options.unixDomainSocket, `dapr-${options.appId}-http.socket`);
  }
  return env;
}

/** Replaces ports that were not asked for by free ones, trying daprd's own first. */
export async function choosePorts(
  options: RuntimeOptions,
  given: { has(flag: string): boolean },
): Promise<RuntimeOptions> {
  const movablePorts = (Object.keys(portFlags) as MovablePort[]).filter(
    (name) => !given.has(portFlags[name]) || options[name] === 0,
  );
  const pick = async (name: MovablePort): Promise<number> => {
    if (!movablePorts.includes(name)) return options[name];
    return choosePort(given.has(portFlags[name]) ? 0 : options[name]);
  };
  return {
    ...options,
    appPort: options.appPort === -1 ? await choosePort(0) : options.appPort,
    httpPort: await pick("httpPort"),
    grpcPort: await pick("grpcPort"),
    metricsPort: options.enableMetrics ? await pick("metricsPort") : 0,
    movablePorts,
  };
}

/** The flags by which ports are asked for. */
export const portFlags: Readonly<Record<MovablePort, string>> = {
  httpPort: "dapr-http-port",
  grpcPort: "dapr-grpc-port",
  metricsPort: "metrics-port",
};

/** Dependencies first; the file's order otherwise. A cycle is broken where it closes. */
function inOrder(apps: readonly NodeApp[]): NodeApp[] {
  const ordered: NodeApp[] = [];
  const visiting = new Set<NodeApp>();
  const visit = (app: NodeApp): void => {
    if (ordered.includes(app) || visiting.has(app)) return;
    visiting.add(app);
    for (const id of app.dependsOn) {
      const needed = apps.find((each) => each.options.appId === id);
      if (needed !== undefined) visit(needed);
    }
    ordered.push(app);
  };
  for (const app of apps) visit(app);
  return ordered;
}
