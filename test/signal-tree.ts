import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const stopWithinMs = 5_000;

/** Signals a server and all that it has started: PostgreSQL has a process for each connection, RabbitMQ runs below a shell. */
export function signalTree(pid: number, signal: "STOP" | "CONT"): void {
  const pids = treeOf(pid);
  spawnSync("kill", [`-${signal}`, ...pids.map(String)]);
  if (signal === "STOP") for (const one of pids) untilStopped(one);
}

/** A thread that runs on another core when the signal comes answers once more. */
function untilStopped(pid: number): void {
  for (const endMs = performance.now() + stopWithinMs; !isStopped(pid); Bun.sleepSync(1)) {
    if (performance.now() > endMs) throw new Error(`process ${pid} does not stand still`);
  }
}

function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    // Behind the name, which is in brackets: a state of T is stopped, Z is gone.
    return "TtZ".includes(stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3));
  });
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return [pid, ...children.filter(Boolean).flatMap((child) => treeOf(Number(child)))];
}
