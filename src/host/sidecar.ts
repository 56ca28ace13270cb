import { hostname } from "node:os";
import { createHttpClient } from "../net/http1/index.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type AppRuntime, openAppRuntime } from "./app-runtime.ts";
import { type Host, openHost } from "./host.ts";
import { describeRuntime, removeInstance, startTicks, writeInstance } from "./instances.ts";
import type { RuntimeOptions } from "./options.ts";
import { openLog } from "./telemetry.ts";

export interface SidecarRequest {
  options: RuntimeOptions;
  env: Record<string, string | undefined>;
  dataFolder: string | undefined;
  store?: string | undefined;
  write: (line: string) => void;
  /** Flags that ask for what is not implemented: fatal, each by its name. */
  refusals: readonly string[];
}

/** How long a forced end may take; a graceful one gets that much at least. */
const forcedExitMs = 500;

/** Runs one runtime as daprd would: its log lines, signals and exit codes (dapr-api.md §1.3, 1.4). */
export async function runSidecar(request: SidecarRequest): Promise<number> {
  const log = openLog(request.options, hostname(), request.write);
  for (const refusal of request.refusals) log.fatal({}, `Fatal error from runtime: ${refusal}`);
  if (request.refusals.length > 0) return 1;
  for (;;) {
    const end = await runOnce(request, log);
    if (end !== "restart") return end;
  }
}

async function runOnce(request: SidecarRequest, log: Log): Promise<number | "restart"> {
  let host: Host | undefined;
  let runtime: AppRuntime;
  try {
    const { dataFolder, store, env, write } = request;
    host = await openHost({ dataFolder, store, env, log, write });
    runtime = await openAppRuntime({ host, options: request.options, write: request.write });
  } catch (error) {
    log.fatal({}, `Fatal error from runtime: ${(error as Error).message}`);
    await host?.close();
    return 1;
  }
  writeInstance(host.dataFolder, {
    pid: process.pid,
    startTicks: startTicks(process.pid),
    startedAt: new Date().toISOString(),
    folder: process.cwd(),
    runFile: undefined,
    apps: [describeRuntime(runtime)],
  });
  const end = await new Ending(runtime, request.options).wait();
  removeInstance(host.dataFolder, process.pid);
  if (end === "force") return 1;
  const closing = closeBoth(runtime, host);
  const graceMs = Math.max(forcedExitMs, request.options.gracefulShutdownSeconds * 1000);
  if (!(await endsWithin(closing, graceMs))) {
    log.error({}, "Graceful shutdown timeout exceeded, forcing shutdown");
    await endsWithin(closing, forcedExitMs);
    return 1;
  }
  if (end === "restart") {
    log.info({}, "Restarting the runtime with re-read configuration");
    return "restart";
  }
  log.info({}, "Daprd shutdown gracefully");
  return 0;
}

/** Waits for the first reason to end: a signal, the API, SIGHUP. Handles the blocked shutdown. */
class Ending {
  private readonly runtime: AppRuntime;
  private readonly options: RuntimeOptions;
  private finish: (end: "stop" | "restart" | "force") => void = () => undefined;
  private isBlocking = false;

  constructor(runtime: AppRuntime, options: RuntimeOptions) {
    this.runtime = runtime;
    this.options = options;
  }

  async wait(): Promise<"stop" | "restart" | "force"> {
    const ended = new Promise<"stop" | "restart" | "force">((resolve) => {
      this.finish = resolve;
    });
    const onStop = (): void => this.stop();
    const onHup = (): void => this.finish("restart");
    process.on("SIGINT", onStop).on("SIGTERM", onStop).on("SIGHUP", onHup);
    this.runtime.onShutdown(({ force }) => (force ? this.finish("force") : this.stop()));
    const end = await ended;
    process.off("SIGINT", onStop).off("SIGTERM", onStop).off("SIGHUP", onHup);
    return end;
  }

  private stop(): void {
    const { blockShutdownMs } = this.options;
    if (blockShutdownMs === undefined || this.isBlocking) {
      this.finish("stop");
      return;
    }
    this.isBlocking = true;
    const { log, scope } = this.runtime;
    log.info(
      {},
      `Blocking graceful shutdown for ${goDuration(blockShutdownMs)} or until app reports unhealthy...`,
    );
    void this.runtime.drain();
    const timer = setTimeout(() => {
      log.info({}, "Block shutdown period expired, entering shutdown...");
      this.finish("stop");
    }, blockShutdownMs);
    scope.channel?.onHealthChange((isHealthy) => {
      if (isHealthy) return;
      clearTimeout(timer);
      log.info({}, "App reported unhealthy, entering shutdown...");
      this.finish("stop");
    });
  }
}

async function closeBoth(runtime: AppRuntime, host: Host): Promise<void> {
  await runtime.close();
  await host.close();
}

function endsWithin(work: Promise<void>, timeMs: number): Promise<boolean> {
  return Promise.race([work.then(() => true), Bun.sleep(timeMs).then(() => false)]);
}

/** `10s`, `1m30s`, `500ms`: as Go prints durations. */
function goDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = (ms % 60_000) / 1000;
  return `${hours > 0 ? `${hours}h` : ""}${hours > 0 || minutes > 0 ? `${minutes}m` : ""}${seconds}s`;
}

const waitDeadlineMs = 60_000;

/** `daprd --wait`: polls the outbound health of the runtime on that port; 0 when it came up within a minute. */
export async function waitUntilOutboundReady(port: number): Promise<number> {
  const client = createHttpClient({ connectTimeoutMs: 1000 });
  const deadline = Date.now() + waitDeadlineMs;
  while (Date.now() < deadline) {
    try {
      const reply = await client.request(
        { host: "127.0.0.1", port },
        { method: "GET", target: "/v1.0/healthz/outbound", headers: [], timeoutMs: 1000 },
      );
      if (reply.status === 204) return 0;
    } catch {
      // Not up yet.
    }
    await Bun.sleep(100);
  }
  return 1;
}
