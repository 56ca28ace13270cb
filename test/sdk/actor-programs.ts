// The programs whose app hosts actors and whose client calls them, made ready to run, with what their SDK lacks.
import { join } from "node:path";
import type { ActorCase } from "./actor-cases.ts";
import type { SdkProgram } from "./harness.ts";
import { goBuild, javaProgram, pythonVenv } from "./toolchain.ts";

export interface ActorProgram extends SdkProgram {
  absent?: Partial<Record<ActorCase, string>>;
}

/** By the name of the SDK, and how its app is asked where it can be in two ways. */
export const actorPrograms = {
  async JavaScript(): Promise<ActorProgram> {
    const folder = join(import.meta.dirname, "javascript");
    const start = ["node", join(folder, "actors.mjs")];
    const absent = {
      "actor-state-ttl": "the SDK has no such call",
      "actor-reentrancy": "the SDK passes no reentrancy id on",
    };
    return { language: "javascript-actors", folder, roles: rolesOf("http", start), absent };
  },
  async GoHttp(): Promise<ActorProgram> {
    const program = await goProgram();
    const roles = { http: [program, "actors-http"], client: [program, "actors-client-http"] };
    const absent = {
      "actor-reentrancy": "the HTTP service passes no reentrancy id on",
      "actor-deactivation": "the HTTP service sets no idle timeout",
    };
    return { language: "go-actors", folder: goFolder, roles, absent };
  },
  async GoStream(): Promise<ActorProgram> {
    const program = await goProgram();
    const roles = { grpc: [program, "actors-stream"], client: [program, "actors-client"] };
    return { language: "go-actors", folder: goFolder, roles };
  },
  async PythonHttp(): Promise<ActorProgram> {
    return { language: "python-actors", folder: pythonFolder, roles: rolesOf("http", await pythonStart()) };
  },
  async PythonStream(): Promise<ActorProgram> {
    return { language: "python-actors", folder: pythonFolder, roles: rolesOf("grpc", await pythonStart()) };
  },
  async Java(): Promise<ActorProgram> {
    const start = await javaProgram(join(import.meta.dirname, "actors/java"));
    const absent = {
      "actor-state-ttl": "the state manager sets no time to live",
      "actor-reentrancy": "the app passes no reentrancy id on",
    };
    return { language: "java-actors", roles: rolesOf("http", start), absent };
  },
};

const goFolder = join(import.meta.dirname, "go");
const pythonFolder = join(import.meta.dirname, "actors");

function goProgram(): Promise<string> {
  return goBuild(goFolder);
}

async function pythonStart(): Promise<string[]> {
  const python = await pythonVenv(join(import.meta.dirname, "python/requirements.txt"));
  return [python, join(pythonFolder, "python.py")];
}

function rolesOf(app: "http" | "grpc", start: string[]): SdkProgram["roles"] {
  return { [app]: [...start, app], client: [...start, "client"] };
}
