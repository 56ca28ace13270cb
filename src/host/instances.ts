import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AppRuntime } from "./app-runtime.ts";

/** What `mecha list`, `stop` and `logs` know of a running runtime. One file per process in `<data>/run`. */
export interface InstanceRecord {
  pid: number;
  /** Boot-relative start time from /proc, so that a reused pid is not mistaken for the runtime. */
  startTicks: string;
  startedAt: string;
  folder: string;
  runFile: string | undefined;
  apps: InstanceApp[];
}

export interface InstanceApp {
  appId: string;
  namespace: string;
  labels: Record<string, string>;
  httpPort: number;
  grpcPort: number;
  internalPort: number;
  metricsPort: number;
  appPort: number;
  appPid: number | undefined;
  command: string;
  appLogFile: string | undefined;
  runtimeLogFile: string | undefined;
  socketFolder: string | undefined;
}

/** What the record of a runtime says, whoever started its app. */
export function describeRuntime({ options, ports }: Pick<AppRuntime, "options" | "ports">): InstanceApp {
  return {
    appId: options.appId,
    namespace: options.namespace,
    labels: options.labels,
    httpPort: ports.http,
    grpcPort: ports.grpc,
    internalPort: ports.internal,
    metricsPort: ports.metrics,
    appPort: options.appPort,
    appPid: undefined,
    command: "",
    appLogFile: undefined,
    runtimeLogFile: undefined,
    socketFolder: options.unixDomainSocket || undefined,
  };
}

export function writeInstance(dataFolder: string, record: InstanceRecord): void {
  const folder = runFolder(dataFolder);
  const path = join(folder, `${record.pid}.json`);
  writeFileSync(`${path}.new`, JSON.stringify(record, null, 1), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeInstance(dataFolder: string, pid: number): void {
  rmSync(join(runFolder(dataFolder), `${pid}.json`), { force: true });
}

/** Records of live processes; those of dead ones are cleaned up. */
export function listInstances(dataFolder: string): InstanceRecord[] {
  const folder = runFolder(dataFolder);
  const records: InstanceRecord[] = [];
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith(".json")) continue;
    const record = readRecord(join(folder, name));
    if (record !== undefined && isAlive(record)) records.push(record);
    else rmSync(join(folder, name), { force: true });
  }
  return records;
}

/** Start time of a process in clock ticks since boot: field 22 of /proc/<pid>/stat; empty where there is no /proc. */
export function startTicks(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function runFolder(dataFolder: string): string {
  const folder = join(dataFolder, "run");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

function readRecord(path: string): InstanceRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as InstanceRecord;
  } catch {
    return undefined;
  }
}

function isAlive(record: InstanceRecord): boolean {
  try {
    process.kill(record.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const ticks = startTicks(record.pid);
  return ticks === "" || record.startTicks === "" || ticks === record.startTicks;
}
