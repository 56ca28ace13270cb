// mecha as a bench starts it: through the command line, with all default components and its data in a private folder.
import { join } from "node:path";
import { build } from "../../scripts/build.ts";
import { freePort } from "../../scripts/free-port.ts";
import { bunPath, root, tools } from "../../scripts/install.mjs";
import { type LoggedProgram, startLogged, statusOf } from "./program.ts";

const readyTimeoutMs = 20_000;
export const appId = "bench";
export const profileFolder = join(tools, "bench", "profiles");

export interface Mecha {
  pid: number;
  httpPort: number;
  grpcPort: number;
  stop(): Promise<void>;
}

export interface MechaOptions {
  /** `appId` when absent. */
  as?: string;
  appPort?: number;
  flags?: string[];
  /** Which program: the checkout's launcher, or the built executable. */
  program?: string;
}

export async function startMecha(options: MechaOptions = {}): Promise<Mecha> {
  const httpPort = await freePort();
  const grpcPort = await freePort();
  const running = launchMecha({ httpPort, grpcPort }, options);
  await untilHealthy(running, httpPort);
  return { pid: running.pid, httpPort, grpcPort, stop: () => running.stop() };
}

export function launchMecha(
  ports: { httpPort: number; grpcPort: number },
  options: MechaOptions,
): LoggedProgram {
  const { as = appId, appPort, flags = [], program = join(root, "mecha") } = options;
  const app = appPort === undefined ? [] : ["--app-port", String(appPort)];
  const api = ["--dapr-http-port", String(ports.httpPort), "--dapr-grpc-port", String(ports.grpcPort)];
  // Chosen by the system: another runtime of this machine may be taking the default one at this moment.
  const metrics = ["--metrics-port", "0"];
  const [command, ...before] = profiled(program);
  const words = ["run", "--app-id", as, ...app, ...api, ...metrics, "--log-level", "warn", ...flags];
  return startLogged(command, [...before, ...words]);
}

/** With `npm run bench -- NAME --profile`, the runtime runs from source and leaves a CPU profile when it ends. */
function profiled(program: string): [string, ...string[]] {
  if (process.env.MECHA_BENCH_PROFILE === undefined) return [program];
  const flags = ["--cpu-prof-md", `--cpu-prof-dir=${profileFolder}`, "--no-env-file", "--config=/dev/null"];
  return [bunPath, ...flags, join(root, "src", "main.ts")];
}

/** Waits until the runtime is ready to serve; asks every millisecond, so that start times can be told from it. */
export async function untilHealthy(running: LoggedProgram, port: number): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  while ((await statusOf(port, "/v1.0/healthz")) !== 204) {
    const hasEnded = running.child.exitCode !== null || running.child.signalCode !== null;
    if (hasEnded || Date.now() > deadline) {
      const log = running.log();
      await running.stop();
      throw new Error(
        `mecha ${hasEnded ? "ended" : "is not ready"}\n${log.split("\n").slice(-20).join("\n")}`,
      );
    }
    await new Promise((done) => setTimeout(done, 1));
  }
}

/** The executable that `npm run build` makes, made anew: a start time of old code is no result. */
export async function builtMecha(say: (text: string) => void): Promise<string> {
  const outfile = join(tools, "bench", "mecha");
  say("building the executable");
  await build({ outfile });
  return outfile;
}
