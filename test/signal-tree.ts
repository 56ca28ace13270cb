import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Signals a server and all that it has started: PostgreSQL has a process for each connection, RabbitMQ runs below a shell. */
export function signalTree(pid: number, signal: "STOP" | "CONT"): void {
  spawnSync("kill", [`-${signal}`, ...treeOf(pid).map(String)]);
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  return [pid, ...children.filter(Boolean).flatMap((child) => treeOf(Number(child)))];
}
