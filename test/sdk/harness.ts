// Runs the programs of one SDK against one runtime: a client and the server apps that the SDK can write.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { bunPath } from "../../scripts/install.mjs";
import { type ModelServer, serveOpenAi, startModelServer } from "../contract/model-server.ts";

const root = resolve(import.meta.dirname, "../..");
const deadlineMs = 60_000;

export interface SdkProgram {
  /** Name of the language, for folder names and messages. */
  language: string;
  /** Command of the program in a role; absent roles are not started. */
  roles: { http?: string[]; grpc?: string[]; client: string[] };
  env?: Record<string, string>;
  folder?: string;
  /** Resource files beside the harness's own. */
  resources?: string[];
  /** Probes the health of the apps; one that fails gets no events. */
  appHealthCheck?: boolean;
  /** One runtime process per app instead of one for all. */
  sidecars?: boolean;
  /** An app `other` without a command, whose port the client gets as OTHER_GRPC_PORT. */
  hasOtherApp?: boolean;
}

/** What the client printed: check → `ok`, or the reason why not. */
export type SdkResult = Map<string, string>;

/** Starts the apps, waits until they are subscribed, runs the client to its end and stops everything. */
export async function runSdk(program: SdkProgram): Promise<SdkResult> {
  const folder = mkdtempSync(join(tmpdir(), `mecha-sdk-${program.language}-`));
  const run = new SdkRun(program, folder);
  try {
    return await run.execute();
  } catch (error) {
    process.stderr.write(run.output.slice(-6000));
    throw error;
  } finally {
    await run.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

class SdkRun {
  output = "";
  private readonly program: SdkProgram;
  private readonly folder: string;
  private readonly data: string;
  private readonly children: ChildProcess[] = [];
  /** Of the component `gpt`. */
  private model: ModelServer | undefined;

  constructor(program: SdkProgram, folder: string) {
    this.program = program;
    this.folder = folder;
    this.data = join(folder, "data");
  }

  async execute(): Promise<SdkResult> {
    this.model = await startModelServer(serveOpenAi);
    this.writeFiles(this.model.url);
    const style = this.program.sidecars ? ["--sidecars"] : [];
    this.spawnMecha(["run", "-f", join(this.folder, "mecha.yaml"), ...style]);
    await this.cli(["configuration", "set", "sdk-item", "one"]);
    await this.cli(["configuration", "set", "sdk-live", "before"]);
    for (const app of [...this.serverApps(), ...this.others(), "client"])
      await this.waitFor(`subscriptions of ${app}`, () => this.isInitialised(app));
    return this.runClient();
  }

  async stop(): Promise<void> {
    this.model?.close();
    for (const child of this.children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
      await ended;
      clearTimeout(timer);
    }
  }

  private serverApps(): string[] {
    return ["http", "grpc"].filter((role) => role in this.program.roles).map((role) => `${role}-app`);
  }

  private others(): string[] {
    return this.program.hasOtherApp ? ["other"] : [];
  }

  private writeFiles(modelUrl: string): void {
    const resources = join(this.folder, "resources");
    mkdirSync(resources, { recursive: true });
    const secrets = join(this.folder, "secrets.json");
    writeFileSync(secrets, JSON.stringify({ "sdk-secret": "hush", nested: { inner: "deep" } }));
    const keys = join(this.folder, "keys");
    mkdirSync(keys);
    writeFileSync(join(keys, "sdk-key"), randomBytes(32));
    const components = [
      component("filesecrets", "secretstores.local.file", { secretsFile: secrets }),
      component("vault", "crypto.dapr.localstorage", { path: keys }),
      component("echo", "conversation.echo", {}),
      component("gpt", "conversation.openai", { key: "secret-key", endpoint: modelUrl }),
    ];
    writeFileSync(join(resources, "components.yaml"), components.join("\n---\n"));
    const { roles, folder = this.folder, appHealthCheck = false, hasOtherApp = false } = this.program;
    for (const file of this.program.resources ?? []) copyFileSync(file, join(resources, basename(file)));
    const apps = Object.entries({ ...roles, client: undefined }).filter(
      ([, command]) => command !== undefined,
    );
    const text = apps
      .map(([role, command]) => appEntry(role, command as string[], folder, appHealthCheck))
      .join("");
    const other = hasOtherApp ? `  - appID: other\n    appDirPath: ${folder}\n` : "";
    writeFileSync(
      join(this.folder, "mecha.yaml"),
      `version: 1\ncommon:\n${anyPorts}  resourcesPath: ${resources}\n  appLogDestination: console\n  daprdLogDestination: console\napps:\n${text}  - appID: client\n    appDirPath: ${folder}\n${other}`,
    );
  }

  private spawnMecha(words: string[]): ChildProcess {
    const child = spawn(bunPath, [join(root, "src/main.ts"), ...words, "--data-dir", this.data], {
      env: { ...(process.env as Record<string, string>), ...this.program.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.children.push(child);
    const keep = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    return child;
  }

  private async cli(words: string[]): Promise<string> {
    const child = spawn(bunPath, [join(root, "src/main.ts"), ...words, "--data-dir", this.data], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.stderr.on("data", (chunk) => (text += chunk));
    const code = await new Promise((done) => child.once("exit", done));
    if (code !== 0) throw new Error(`mecha ${words.join(" ")} ended with ${code}: ${text}`);
    return text;
  }

  private async isInitialised(app: string): Promise<boolean> {
    const health = await fetch(`http://127.0.0.1:${(await this.ports(app)).httpPort}/v1.0/healthz`);
    return health.status === 204;
  }

  private async ports(app: string): Promise<{ httpPort: number; grpcPort: number }> {
    const apps = JSON.parse(await this.cli(["list", "--json"])) as {
      appId: string;
      httpPort: number;
      grpcPort: number;
    }[];
    const found = apps.find((each) => each.appId === app);
    if (found === undefined) throw new Error(`${app} is not listed`);
    return found;
  }

  private async runClient(): Promise<SdkResult> {
    const [program = "", ...words] = this.program.roles.client;
    const own = await this.ports("client");
    const env: Record<string, string> = {
      ...(process.env as Record<string, string>),
      ...this.program.env,
      DAPR_HTTP_PORT: String(own.httpPort),
      DAPR_GRPC_PORT: String(own.grpcPort),
    };
    for (const app of [...this.serverApps(), ...this.others()])
      env[`${app.toUpperCase().replace("-", "_")}_GRPC_PORT`] = String((await this.ports(app)).grpcPort);
    const child = spawn(program, words, { env, cwd: this.program.folder, stdio: ["ignore", "pipe", "pipe"] });
    this.children.push(child);
    const result: SdkResult = new Map();
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) this.readLine(line, result);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      this.output += `client: ${chunk.toString()}`;
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
    const code = await new Promise((done) => child.once("close", (exit, signal) => done(exit ?? signal)));
    clearTimeout(timer);
    if (code !== 0)
      throw new Error(
        `the ${this.program.language} client ended with ${code}; it printed ${[...result.keys()].join(", ")}`,
      );
    return result;
  }

  private readLine(line: string, result: SdkResult): void {
    this.output += `client: ${line}\n`;
    if (line === "want sdk-live") void this.cli(["configuration", "set", "sdk-live", "after"]);
    const match = /^(ok|not ok|skip) ([\w-]+)(?:: (.*))?$/.exec(line.trim());
    if (match === null) return;
    const [, word, name = "", reason = ""] = match;
    result.set(name, word === "ok" ? "ok" : `${word}: ${reason}`);
  }

  private async waitFor(what: string, check: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + deadlineMs;
    while (Date.now() < deadline) {
      if (await check().catch(() => false)) return;
      await Bun.sleep(200);
    }
    throw new Error(`waited ${deadlineMs / 1000} s for the ${what}`);
  }
}

/** The usual ones may be taken, or wanted by another test at the same moment. */
const anyPorts = "  daprHTTPPort: 0\n  daprGRPCPort: 0\n  metricsPort: 0\n";

function appEntry(role: string, command: string[], folder: string, healthCheck: boolean): string {
  return `  - appID: ${role}-app
    appDirPath: ${folder}
    appPort: auto
    appProtocol: ${role === "grpc" ? "grpc" : "http"}
    enableAppHealthCheck: ${healthCheck}
    # Milliseconds: a cold JVM on a busy machine takes its time to answer first.
    appHealthProbeTimeout: 4000
    command: ${JSON.stringify(command)}
`;
}

function component(name: string, type: string, metadata: Record<string, string>): string {
  const items = Object.entries(metadata).map(([key, value]) => ({ name: key, value }));
  const spec = { type, version: "v1", metadata: items };
  return JSON.stringify({ apiVersion: "dapr.io/v1alpha1", kind: "Component", metadata: { name }, spec });
}
