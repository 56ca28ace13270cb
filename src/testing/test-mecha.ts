import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NodeApp, type RunningNode, startNode } from "../host/node.ts";
import { type RuntimeOptions, runtimeDefaults } from "../host/options.ts";
import { createHttpClient } from "../net/http1/index.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { FakeApp } from "./fake-app.ts";
import { testStore } from "./test-store.ts";

export interface TestApp {
  appId: string;
  /** The application: a fake one, or the port of a real one. Absent: the runtime alone. */
  app?: FakeApp | number;
  /** Anything that daprd's flags could say. */
  options?: Partial<RuntimeOptions>;
}

export interface TestMechaOptions {
  apps: readonly TestApp[];
  /** YAML documents: components, subscriptions, … */
  resources?: string;
  /** Environment variables, for secrets and templates. */
  env?: Record<string, string>;
  /** Data that several share, as on one machine; who names it removes it. Absent: its own. */
  dataFolder?: string;
}

export interface HttpAnswer {
  status: number;
  header(lowerName: string): string | undefined;
  text: string;
  json(): unknown;
}

export interface TestMecha {
  /** Calls the API of an app's runtime: `http("orders", "GET /v1.0/state/statestore/a")`. */
  http(appId: string, line: string, request?: HttpCallOptions): Promise<HttpAnswer>;
  ports(appId: string): { http: number; grpc: number; metrics: number };
  /** What the runtimes logged. */
  log(): string;
  /** Ends everything and starts it anew on the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface HttpCallOptions {
  headers?: Record<string, string>;
  /** An object is sent as JSON. */
  body?: string | object;
}

const bodyBytesMax = 16 << 20;

/** Runs apps in one runtime inside this process, on free ports, with its data in a temporary folder. */
export async function startMecha(options: TestMechaOptions): Promise<TestMecha> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-testing-"));
  const client = createHttpClient();
  const lines: string[] = [];
  const start = () => startNode(nodeOptions(folder, options, lines));
  let node = await start();
  await allInitialised(node);
  const ports = (appId: string) => {
    const found = node.runtimes.find((runtime) => runtime.options.appId === appId);
    if (found === undefined) throw new Error(`no app is called ${appId}`);
    return found.ports;
  };
  return {
    ports,
    log: () => lines.join("\n"),
    async http(appId, line, { headers = {}, body } = {}) {
      const [method = "GET", target = "/"] = line.split(/ (.*)/);
      const isJson = typeof body === "object";
      const fields = isJson ? { "Content-Type": "application/json", ...headers } : headers;
      const response = await client.request(
        { host: "127.0.0.1", port: ports(appId).http },
        {
          method,
          target,
          headers: Object.entries(fields).flat(),
          body: isJson ? JSON.stringify(body) : body,
        },
      );
      const text = Buffer.from(await response.body.bytes(bodyBytesMax)).toString("utf8");
      const { status } = response;
      return {
        status,
        header: (name) => response.header(name),
        text,
        json: () => JSON.parse(text) as unknown,
      };
    },
    async restart() {
      await node.stop(0);
      node = await start();
      await allInitialised(node);
    },
    async stop() {
      client.close();
      await node.stop(0);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function allInitialised(node: RunningNode): Promise<void> {
  await Promise.all(node.runtimes.map((runtime) => runtime.initialised));
}

function nodeOptions(folder: string, options: TestMechaOptions, lines: string[]) {
  const { apps, resources, env = {}, dataFolder = join(folder, "data") } = options;
  const resourcesFolder = join(folder, "resources");
  mkdirSync(resourcesFolder, { recursive: true });
  if (resources !== undefined) writeFileSync(join(resourcesFolder, "resources.yaml"), resources);
  return {
    apps: apps.map((app) => nodeApp(app, resourcesFolder, env, lines)),
    dataFolder,
    store: testStore(options.dataFolder ?? folder),
    env,
    folder,
    runFile: undefined,
    talk: () => undefined,
    log: silentLog,
  };
}

function nodeApp(
  { appId, app, options = {} }: TestApp,
  resourcesFolder: string,
  env: Record<string, string>,
  lines: string[],
): NodeApp {
  return {
    options: {
      ...runtimeDefaults,
      appId,
      appPort: typeof app === "object" ? app.port : (app ?? 0),
      httpPort: 0,
      grpcPort: 0,
      listenAddresses: ["127.0.0.1"],
      internalGrpcListenAddress: "127.0.0.1",
      resourcesPaths: [resourcesFolder],
      enableMetrics: false,
      ...options,
    },
    command: [],
    folder: resourcesFolder,
    env,
    restart: "never",
    dependsOn: [],
    onLine: (line) => void lines.push(line),
    logs: { app: false, runtime: false },
  };
}

const nothing = () => undefined;
const silentLog: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => silentLog,
};
