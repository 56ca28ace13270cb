import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Signals a server and the processes that it has started: PostgreSQL has one for each connection. */
export function signalTree(pid: number, signal: "STOP" | "CONT"): void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  spawnSync("kill", [`-${signal}`, String(pid), ...children.filter(Boolean)]);
}
