import { spawn } from "node:child_process";
import type { Sockets } from "../edges/sockets.ts";
import type { HttpClient } from "../net/http1/index.ts";

/** How an app process is looked at: Kubernetes' probe, with its names and defaults. */
export interface Probe {
  check:
    | { kind: "http"; path: string; port: number }
    | { kind: "tcp"; port: number }
    | { kind: "exec"; command: readonly string[] };
  initialDelayMs: number;
  periodMs: number;
  timeoutMs: number;
  failureThreshold: number;
  successThreshold: number;
}

export interface Probes {
  startup?: Probe;
  readiness?: Probe;
  liveness?: Probe;
}

/** Looks at one process until it is closed. `startup` comes first; the others begin when it has succeeded. */
export interface Probing {
  /** Resolves when the app is ready for the first time. */
  readonly ready: Promise<void>;
  close(): void;
}

export interface ProbingOptions {
  probes: Probes;
  httpClient: HttpClient;
  sockets: Sockets;
  folder: string;
  env: Record<string, string>;
  onReady: (isReady: boolean) => void;
  /** Startup or liveness failed too often: the process is to be started again. */
  onDead: (which: "startup" | "liveness", reason: string) => void;
}

export function startProbing(options: ProbingOptions): Probing {
  const closing = new AbortController();
  const { signal } = closing;
  let becomeReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });
  const { startup, readiness, liveness } = options.probes;
  const setReady = (isReady: boolean): void => {
    options.onReady(isReady);
    if (isReady) becomeReady();
  };

  async function run(): Promise<void> {
    if (startup !== undefined) {
      const reason = await untilUp(startup, options, signal);
      if (reason !== undefined) return options.onDead("startup", reason);
    }
    if (signal.aborted) return;
    if (readiness === undefined) setReady(true);
    else void follow(readiness, options, signal, false, setReady);
    if (liveness === undefined) return;
    await follow(liveness, options, signal, true, (isAlive, reason) => {
      if (!isAlive && !signal.aborted) options.onDead("liveness", reason);
    });
  }
  void run();
  return { ready, close: () => closing.abort() };
}

/** Resolves with `undefined` at the first success, or with the reason after too many failures. */
async function untilUp(
  probe: Probe,
  options: ProbingOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  await pause(probe.initialDelayMs, signal);
  let reason = "";
  for (let failures = 0; failures < probe.failureThreshold; failures++) {
    if (failures > 0) await pause(probe.periodMs, signal);
    if (signal.aborted) return undefined;
    try {
      await look(probe, options, signal);
      return undefined;
    } catch (error) {
      reason = (error as Error).message;
    }
  }
  return reason;
}

/** Reports each change of state, after the thresholds. */
async function follow(
  probe: Probe,
  options: ProbingOptions,
  signal: AbortSignal,
  startsUp: boolean,
  onChange: (isUp: boolean, reason: string) => void,
): Promise<void> {
  let isUp = startsUp;
  let streak = 0;
  await pause(probe.initialDelayMs, signal);
  while (!signal.aborted) {
    let reason = "";
    const succeeded = await look(probe, options, signal).then(
      () => true,
      (error: Error) => {
        reason = error.message;
        return false;
      },
    );
    streak = succeeded === isUp ? 0 : streak + 1;
    if (!signal.aborted && streak >= (succeeded ? probe.successThreshold : probe.failureThreshold)) {
      isUp = succeeded;
      streak = 0;
      onChange(isUp, reason);
    }
    await pause(probe.periodMs, signal);
  }
}

async function look(
  { check, timeoutMs }: Probe,
  options: ProbingOptions,
  signal: AbortSignal,
): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  if (check.kind === "tcp") return lookTcp(options.sockets, check.port, limit);
  if (check.kind === "exec") return lookExec(check.command, options, limit);
  const reply = await options.httpClient.request(
    { host: "127.0.0.1", port: check.port },
    { method: "GET", target: check.path, headers: ["User-Agent", "mecha-probe"], signal: limit, timeoutMs },
  );
  await reply.body.bytes(1 << 20);
  if (reply.status < 200 || reply.status >= 400)
    throw new Error(`GET ${check.path} answered ${reply.status}`);
}

function lookTcp(sockets: Sockets, port: number, limit: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = sockets.connect({ host: "127.0.0.1", port });
    const end = (error?: Error): void => {
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    limit.addEventListener("abort", () => end(new Error(`port ${port} did not answer in time`)), {
      once: true,
    });
    socket.once("connect", () => end());
    socket.once("error", end);
  });
}

function lookExec(
  command: readonly string[],
  { folder, env }: ProbingOptions,
  limit: AbortSignal,
): Promise<void> {
  const [program = "", ...words] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, {
      cwd: folder,
      env,
      stdio: "ignore",
      signal: limit,
      killSignal: "SIGKILL",
    });
    child.once("error", reject);
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`)),
    );
  });
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (delayMs <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done, { once: true });
  });
}
