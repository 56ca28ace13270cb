import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { freePort } from "../../../scripts/free-port.ts";
import { bunPath } from "../../../scripts/install.mjs";
import { createGrpcClient, type GrpcClient } from "../../../src/net/grpc/index.ts";
import {
  GetInstanceHistoryRequestSchema,
  GetInstanceHistoryResponseSchema,
  type HistoryEvent,
} from "../../../src/wire/orchestrator_service_pb.js";
import { pythonVenv } from "../../sdk/toolchain.ts";
import type { Service } from "../../services.ts";

const root = join(import.meta.dirname, "../../..");
const deadlineMs = 240_000;
/** Starts under way at once. */
const startsMax = 50;

export interface CrashReport {
  finished: number;
  kills: number;
  executions: number;
  /** Steps that ran again before their result was committed: what was in flight at a kill. */
  repeated: number;
  /** How many of the kills hit which kind of process. */
  victims: Record<Victim, number>;
  faults: string[];
}

export type Victim = "runtime" | "worker" | "server";

export interface CrashOptions {
  workflows: number;
  steps: number;
  kills: number;
  seed: number;
  /** Runtimes that share the store, each with a worker of its own. Default one. */
  runtimes?: number;
  /** A share of the kills hits a worker. */
  killsWorkers?: boolean;
  /** The store instead of SQLite; a share of the kills hits its server. */
  server?: Service;
  /** Longest pause before a kill, beside the 300 ms that each has. */
  pauseMaxMs?: number;
  /** A state store of the user's: its resource, and what is done round each kill. */
  home?: {
    resource(folder: string): string;
    /** Resolves at the moment to kill. */
    beforeKill(folder: string): Promise<void>;
    /** Nothing runs now. */
    afterKill(folder: string): void;
  };
}

/** Kills the runtime at random moments while workflows run, then compares what the worker did with the histories. */
export async function runWorkflowCrash(options: CrashOptions): Promise<CrashReport> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-workflow-crash-"));
  const run = new CrashRun(folder, options);
  try {
    return await run.execute(options);
  } finally {
    await run.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Host {
  httpPort: number;
  grpcPort: number;
  runtime?: ChildProcess;
  worker?: ChildProcess;
}

class CrashRun {
  readonly #folder: string;
  readonly #journal: string;
  readonly #options: CrashOptions;
  readonly #hosts: Host[] = [];
  readonly #victims: Record<Victim, number> = { runtime: 0, worker: 0, server: 0 };
  readonly #killedMs: number[] = [];
  #python = "";
  #calls = 0;
  #seed: number;

  constructor(folder: string, options: CrashOptions) {
    this.#folder = folder;
    this.#journal = join(folder, "journal");
    this.#options = options;
    this.#seed = options.seed;
    mkdirSync(join(folder, "resources"));
    const { home } = options;
    if (home !== undefined) writeFileSync(join(folder, "resources", "home.yaml"), home.resource(folder));
  }

  async execute(options: CrashOptions): Promise<CrashReport> {
    this.#python = await pythonVenv(join(root, "test/sdk/python/requirements.txt"));
    for (let index = 0; index < (options.runtimes ?? 1); index++) {
      const host: Host = { httpPort: await freePort(), grpcPort: await freePort() };
      this.#hosts.push(host);
      this.#startRuntime(host);
      this.#startWorker(host);
    }
    const ids = Array.from({ length: options.workflows }, (_, index) => `w${index}`);
    const started = this.#startAll(ids, options.steps);
    for (let kill = 0; kill < options.kills; kill++) {
      await Bun.sleep(300 + this.#random() * (options.pauseMaxMs ?? 2500));
      await this.#kill(kill);
    }
    await started;
    const expected = String((options.steps * (options.steps + 1)) / 2);
    for (const id of ids) await this.#finished(id, expected);
    return this.#verify(ids, options.steps, options.kills);
  }

  async stop(): Promise<void> {
    for (const { worker, runtime } of this.#hosts) {
      for (const child of [worker, runtime]) {
        child?.kill("SIGKILL");
        await ended(child);
      }
    }
  }

  /** One process of one of the hosts, or the server of the store; it is started again at once. */
  async #kill(round: number): Promise<void> {
    const { home, killsWorkers = false, server } = this.#options;
    const kinds: Victim[] = ["runtime", ...(killsWorkers ? (["worker"] as const) : [])];
    if (server !== undefined) kinds.push("server");
    const kind = kinds[round % kinds.length] as Victim;
    this.#victims[kind] += 1;
    const host = this.#hosts[Math.floor(this.#random() * this.#hosts.length)] as Host;
    if (kind === "runtime") await home?.beforeKill(this.#folder);
    this.#killedMs.push(Date.now());
    if (kind === "server") {
      await server?.kill();
      await server?.start();
      return;
    }
    if (kind === "worker") {
      host.worker?.kill("SIGKILL");
      await ended(host.worker);
      this.#startWorker(host);
      return;
    }
    host.runtime?.kill("SIGKILL");
    await ended(host.runtime);
    home?.afterKill(this.#folder);
    this.#startRuntime(host);
  }

  #startWorker(host: Host): void {
    host.worker = spawn(this.#python, [join(import.meta.dirname, "worker.py"), this.#journal], {
      env: { ...process.env, DAPR_GRPC_PORT: String(host.grpcPort) } as Record<string, string>,
      stdio: "ignore",
    });
  }

  #startRuntime(host: Host): void {
    const { server } = this.#options;
    const store = server === undefined ? [] : ["--store", String(server.details.url)];
    const words = [
      ...["run", "--app-id", "crash", "--log-level", "error", ...store],
      ...["--data-dir", join(this.#folder, "data"), "--resources-path", join(this.#folder, "resources")],
      ...["--dapr-http-port", host.httpPort, "--dapr-grpc-port", host.grpcPort, "--metrics-port", 0].map(
        String,
      ),
    ];
    const log = openSync(join(this.#folder, "log"), "a");
    const runtime = spawn(bunPath, [join(root, "src/main.ts"), ...words], { stdio: ["ignore", log, log] });
    closeSync(log);
    runtime.once("exit", (code) => {
      if (code === null) return;
      process.stderr.write(readFileSync(join(this.#folder, "log"), "utf8").slice(-3000));
    });
    host.runtime = runtime;
  }

  async #startAll(ids: readonly string[], steps: number): Promise<void> {
    const left = ids.values();
    const starter = async (): Promise<void> => {
      for (const id of left) await this.#start(id, steps);
    };
    await Promise.all(Array.from({ length: startsMax }, starter));
  }

  /** Starts are tried until they are answered; a start that was committed unanswered is refused the next time. */
  async #start(id: string, steps: number): Promise<void> {
    const path = `/v1.0/workflows/dapr/steps/start?instanceID=${id}`;
    await eventually(`the start of ${id}`, async () => {
      const reply = await this.#fetch(path, { method: "POST", body: String(steps) });
      return reply.status === 202 || (await reply.text()).includes("already exists");
    });
  }

  async #finished(id: string, expected: string): Promise<void> {
    await eventually(`the end of ${id}`, async () => {
      const reply = await this.#fetch(`/v1.0/workflows/dapr/${id}`);
      const { runtimeStatus, properties } = (await reply.json()) as {
        runtimeStatus: string;
        properties: Record<string, string>;
      };
      if (runtimeStatus !== "COMPLETED") return false;
      const output = properties["dapr.workflow.output"];
      if (output !== expected) throw new Fatal(`${id} has the output ${output}`);
      return true;
    });
  }

  /** By turns, since one may be down. */
  #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const signal = AbortSignal.timeout(5_000);
    const { httpPort } = this.#hosts[this.#calls++ % this.#hosts.length] as Host;
    return fetch(`http://127.0.0.1:${httpPort}${path}`, { ...init, signal });
  }

  async #verify(ids: string[], steps: number, kills: number): Promise<CrashReport> {
    const executions = readJournal(this.#journal, "ran");
    const handed = readJournal(this.#journal, "handed");
    const report: CrashReport = {
      ...{ finished: ids.length, kills, executions: 0, repeated: 0 },
      ...{ victims: this.#victims, faults: [] },
    };
    const client = createGrpcClient({ host: "127.0.0.1", port: this.#hosts[0]?.grpcPort ?? 0 });
    for (const id of ids) {
      const events = await historyOf(client, id);
      const committed = checkHistory(id, events, steps, report.faults);
      const repetitions: number[] = [];
      for (let number = 1; number <= steps; number++) {
        const times = executions.get(`${id} ${number}`) ?? [];
        report.executions += times.length;
        repetitions.push(...times.toSorted((one, other) => one - other).slice(1));
        const doneMs = committed[number - 1] ?? 0;
        if (times.length === 0) report.faults.push(`${id}: step ${number} never ran`);
        // Run it may be later: a worker that lost its runtime does what it had been handed before.
        const handedMs = handed.get(`${id} ${number}`) ?? [];
        if (handedMs.some((ms) => ms > doneMs))
          report.faults.push(
            `${id}: step ${number} handed out ${handedMs.join()}, ran ${times.join()}, result ${doneMs}`,
          );
      }
      report.repeated += repetitions.length;
      report.faults.push(...checkRepetitions(id, repetitions, this.#killedMs));
    }
    client.close();
    if (report.faults.length > 0) report.faults.push(`kills at ${this.#killedMs.join()}`);
    return report;
  }

  /** Park and Miller's generator: the same seed kills after the same pauses. */
  #random(): number {
    this.#seed = (this.#seed * 48271) % 2147483647 || 1;
    return this.#seed / 2147483647;
  }
}

class Fatal extends Error {}

function readJournal(file: string, what: "handed" | "ran"): Map<string, number[]> {
  const executions = new Map<string, number[]>();
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  for (const line of text.split("\n")) {
    const [kind, ms, id, number] = line.split(" ");
    if (number === undefined || kind !== what) continue;
    const key = `${id} ${number}`;
    executions.set(key, [...(executions.get(key) ?? []), Number(ms)]);
  }
  return executions;
}

async function historyOf(client: GrpcClient, instanceId: string): Promise<HistoryEvent[]> {
  const request = toBinary(
    GetInstanceHistoryRequestSchema,
    create(GetInstanceHistoryRequestSchema, { instanceId }),
  );
  const reply = await client.unary("/TaskHubSidecarService/GetInstanceHistory", request);
  return fromBinary(GetInstanceHistoryResponseSchema, reply).events;
}

/** Each step is scheduled once and has one result, one after the other. Returns when each was committed. */
function checkHistory(id: string, events: HistoryEvent[], steps: number, faults: string[]): number[] {
  const scheduled: number[] = [];
  const committed: number[] = [];
  for (const { eventId, eventType, timestamp } of events) {
    if (eventType.case === "taskScheduled") scheduled.push(eventId);
    if (eventType.case !== "taskCompleted") continue;
    if (eventType.value.taskScheduledId !== scheduled.at(-1)) {
      faults.push(`${id}: a result of ${eventType.value.taskScheduledId} after ${scheduled.join()}`);
    }
    committed.push(timestamp === undefined ? 0 : timestampMs(timestamp));
  }
  const ends = events.filter(({ eventType }) => eventType.case === "executionCompleted").length;
  if (new Set(scheduled).size !== steps) faults.push(`${id}: scheduled ${scheduled.join()}`);
  if (committed.length !== steps) faults.push(`${id}: ${committed.length} results`);
  if (ends !== 1 || events.at(-1)?.eventType.case !== "executionCompleted")
    faults.push(`${id}: ${ends} ends`);
  return committed;
}

/** A workflow has one step in flight at a time, so each kill makes it repeat at most one, and only after the kill. */
function checkRepetitions(id: string, repetitions: readonly number[], killedMs: readonly number[]): string[] {
  const sorted = repetitions.toSorted((one, other) => one - other);
  const unexplained = sorted.findIndex((ms, index) => ms < (killedMs[index] ?? Number.POSITIVE_INFINITY));
  if (unexplained < 0) return [];
  return [`${id}: repetition ${unexplained + 1} at ${sorted[unexplained]}`];
}

async function eventually(what: string, check: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + deadlineMs;
  let last: unknown;
  while (Date.now() < endMs) {
    try {
      if (await check()) return;
      last = undefined;
    } catch (error) {
      if (error instanceof Fatal) throw error;
      last = error;
    }
    await Bun.sleep(100);
  }
  throw new Error(`waited ${deadlineMs / 1000} s for ${what}`, { cause: last });
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once("exit", resolve));
}
