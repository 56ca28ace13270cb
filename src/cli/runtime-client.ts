import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openDataFolder } from "../host/data-folder.ts";
import { type InstanceApp, type InstanceRecord, listInstances } from "../host/instances.ts";
import { nearest } from "../kit/nearest.ts";
import { createHttpClient } from "../net/http1/index.ts";
import type { CommandContext } from "./command.ts";
import type { Flag } from "./flags.ts";

/** Flags of every command that talks to a running app's runtime. */
export const targetFlags: readonly Flag[] = [
  {
    name: "app-id",
    short: "a",
    type: "text",
    description: "the app whose runtime is asked; not needed when one runs",
  },
  { name: "dapr-http-port", type: "number", default: 0, description: "ask the runtime on this port instead" },
  {
    name: "data-dir",
    type: "text",
    default: "",
    description: "data folder (default: $MECHA_HOME or ~/.mecha)",
  },
];
export const jsonFlag: Flag = { name: "json", type: "boolean", default: false, description: "print JSON" };

/** The command can not go on: exit code 1, or 4 when a runtime can not be reached. */
export class CommandError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  constructor(message: string, options: { hint?: string | undefined; exitCode?: number } = {}) {
    super(message);
    this.name = "CommandError";
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
  }
}

export interface RuntimeReply {
  status: number;
  body: Buffer;
  header(lowerName: string): string | undefined;
}

export interface RuntimeTarget {
  request(method: string, target: string, body?: string, headers?: string[]): Promise<RuntimeReply>;
}

const bodyBytesMax = 256 << 20;
const requestTimeoutMs = 60_000;

/** Running runtimes of the data folder that the command's flags and environment name. */
export function instancesOf(context: CommandContext): InstanceRecord[] {
  return listInstances(dataFolderOf(context));
}

export function dataFolderOf(context: CommandContext): string {
  return openDataFolder({ given: context.values.text("data-dir") || undefined, env: context.env });
}

/** The runtime that a command talks to: by port, by app id, or the only one there is. */
export function findTarget(context: CommandContext, appId = context.values.text("app-id")): RuntimeTarget {
  const port = context.values.number("dapr-http-port");
  if (port > 0) return target({ host: "127.0.0.1", port }, context);
  const apps = instancesOf(context).flatMap((record) => record.apps);
  const app = pickApp(apps, appId);
  const socketPath =
    app.socketFolder === undefined ? undefined : join(app.socketFolder, `dapr-${app.appId}-http.socket`);
  return target({ host: "127.0.0.1", port: app.httpPort, socketPath }, context);
}

/** The running app that a command means. */
export function findApp(context: CommandContext): InstanceApp {
  const apps = instancesOf(context).flatMap((record) => record.apps);
  return pickApp(apps, context.values.text("app-id"));
}

function pickApp(apps: readonly InstanceApp[], appId: string): InstanceApp {
  if (apps.length === 0) {
    throw new CommandError("no runtime is running here", {
      hint: "start one: mecha run --app-id orders -- node app.js",
      exitCode: 4,
    });
  }
  const ids = apps.map((app) => app.appId);
  if (appId === "") {
    const [only, second] = apps;
    if (only !== undefined && second === undefined) return only;
    throw new CommandError(`${apps.length} apps are running: say which`, {
      hint: `--app-id ${ids.join(" | ")}`,
    });
  }
  const found = apps.find((app) => app.appId === appId);
  if (found !== undefined) return found;
  const near = nearest(appId, ids);
  const hint = near === undefined ? `running: ${ids.join(", ")}` : `did you mean ${near}?`;
  throw new CommandError(`app ${appId} is not running`, { hint, exitCode: 4 });
}

function target(
  address: { host: string; port: number; socketPath?: string | undefined },
  context: CommandContext,
): RuntimeTarget {
  const client = createHttpClient({ maxSocketsPerAddress: 8, idleTimeoutMs: 100 });
  const token = apiTokenOf(context.env);
  return {
    async request(method, path, body, headers = []) {
      const all = [...headers, ...(token === undefined ? [] : ["dapr-api-token", token])];
      const reply = await client
        .request(address, { method, target: path, headers: all, body, timeoutMs: requestTimeoutMs })
        .catch((error: Error) => {
          const where = address.socketPath ?? `port ${address.port}`;
          throw new CommandError(`the runtime on ${where} does not answer: ${error.message}`, {
            hint: "mecha list",
            exitCode: 4,
          });
        });
      const bytes = Buffer.from(await reply.body.bytes(bodyBytesMax));
      return { status: reply.status, body: bytes, header: (name) => reply.header(name) };
    },
  };
}

/** Bytes as JSON says them: as they are when they are JSON, else as a string. */
export function jsonOf(body: Buffer): unknown {
  const text = body.toString();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Throws a readable error for an unsuccessful reply: the API's code and message. */
export function expectOk(reply: RuntimeReply): RuntimeReply {
  if (reply.status < 400) return reply;
  const text = reply.body.toString();
  try {
    const { errorCode, message } = JSON.parse(text) as { errorCode?: string; message?: string };
    if (errorCode !== undefined) throw new CommandError(`${errorCode}: ${message ?? ""}`);
  } catch (error) {
    if (error instanceof CommandError) throw error;
  }
  const hint =
    reply.status === 401 ? "set DAPR_API_TOKEN or DAPR_API_TOKEN_FILE to the token of that app" : undefined;
  throw new CommandError(`HTTP ${reply.status}: ${text.slice(0, 2000)}`, { hint });
}

/** The token that a runtime of this environment asks for: of a file, the first one. */
export function apiTokenOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { DAPR_API_TOKEN: token, DAPR_API_TOKEN_FILE: file } = env;
  if (token !== undefined || file === undefined) return token;
  try {
    const lines = readFileSync(file, "utf8").split("\n");
    return lines.map((line) => line.trim()).find((line) => line !== "");
  } catch (error) {
    throw new CommandError(`DAPR_API_TOKEN_FILE can not be read: ${(error as Error).message}`, {
      exitCode: 2,
    });
  }
}
