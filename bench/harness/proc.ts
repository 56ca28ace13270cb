// What /proc says about a process: the CPU it used, the memory it holds, its children. Linux only.
import { readdirSync, readFileSync } from "node:fs";

/** A clock tick of /proc/PID/stat; USER_HZ is 100 on every Linux that Bun runs on. */
const tickUs = 10_000;

/** User and system time of all threads of a process and of its descendants, in microseconds. */
export function cpuUs(pid: number): number {
  return processTree(pid).reduce((total, one) => total + ownCpuUs(one), 0);
}

/** Resident memory of a process and its descendants, in bytes. */
export function residentBytes(pid: number): number {
  const of = (one: number) =>
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readOrEmpty(`/proc/${one}/status`))?.[1] ?? 0) * 1024;
  return processTree(pid).reduce((total, one) => total + of(one), 0);
}

function ownCpuUs(pid: number): number {
  const fields = statFields(pid);
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * tickUs;
}

function processTree(pid: number): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const parents = new Map(all.map((name) => [Number(name), Number(statFields(Number(name))[1])]));
  const below = (of: number): number[] => {
    const children = [...parents].filter(([, parent]) => parent === of).map(([child]) => child);
    return [of, ...children.flatMap(below)];
  };
  return below(pid);
}

/** The fields after the name, which may hold spaces: state, parent … utime is the 12th, stime the 13th. */
function statFields(pid: number): string[] {
  const text = readOrEmpty(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
