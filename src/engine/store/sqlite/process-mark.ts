import { readFileSync, readlinkSync } from "node:fs";

/**
 * Names this process so that others of the same machine can tell whether it still lives: boot, process namespace, pid
 * and start time, so that neither a reused pid nor another container's is mistaken for it. Empty where there is no /proc.
 */
export function processMark(): string {
  const place = thisPlace();
  return place === undefined ? "" : `${place}/${process.pid}/${startTicks(process.pid) ?? ""}`;
}

/** The name under which this process claims for one of its consumers. */
export function markedOwner(owner: string): string {
  mark ??= processMark();
  return `${mark} ${owner}`;
}

/** The mark in the name of an owner. */
export function markOf(owner: string): string {
  return owner.slice(0, owner.indexOf(" "));
}

let mark: string | undefined;

/** Certain death only: a mark of another machine or container, or none at all, is not dead for us. */
export function isDead(mark: string): boolean {
  const [boot = "", namespace = "", pid = "", ticks = ""] = mark.split("/");
  if (`${boot}/${namespace}` !== thisPlace() || ticks === "") return false;
  return startTicks(Number(pid)) !== ticks;
}

let place: string | undefined;

function thisPlace(): string | undefined {
  try {
    place ??= `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    // No /proc: only the ends of leases tell.
  }
  return place;
}

/** Field 22 of /proc/<pid>/stat; `undefined` when there is no such process. A zombie is dead already. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
