import { readFileSync } from "node:fs";
import os from "node:os";
import type { KeyEntry } from "../engine/store/store.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import type { AppName } from "./identity.ts";
import type { PeerTls } from "./security.ts";

/** One running copy of an app as its mecha announces it to the others that share the store. */
export interface InstanceRecord extends AppName {
  instanceId: string;
  host: string;
  /** The internal (peer) port. */
  port: number;
  /** Random per process: what callers present at the peer port. */
  token: string;
  labels?: Record<string, string>;
  /** Absent: it speaks no TLS there. */
  tls?: PeerTls | undefined;
}

/** A record as found in the registry, with what this process knows of it. */
export interface Instance extends InstanceRecord {
  readonly address: HttpAddress;
  /** The process that announced it, on which machine. */
  readonly pid: number;
  readonly machine: string;
  etag: string;
  expiresAtMs: number;
  /** Calls of this process that are under way there. */
  outstanding: number;
  /** Not tried again before this moment (monotonic) while there are others. */
  suspectUntilMs: number;
}

/** Of this machine and boot: process ids mean something only there. */
export const thisMachine = os.hostname();

export function encodeRecord(record: InstanceRecord): Uint8Array {
  return Buffer.from(JSON.stringify({ ...record, pid: process.pid, machine: thisMachine }));
}

/** `undefined` for what another version of mecha may have written and this one cannot use. */
export function decodeInstance({ value, etag, expiresAtMs }: KeyEntry): Instance | undefined {
  let fields: Partial<Instance>;
  try {
    fields = JSON.parse(Buffer.from(value).toString("utf8"));
  } catch {
    return undefined;
  }
  const { namespace, appId, instanceId, host, port, token } = fields;
  const texts = [namespace, appId, instanceId, host, token];
  if (texts.some((text) => typeof text !== "string") || typeof port !== "number") return undefined;
  return {
    ...(fields as Instance),
    pid: fields.pid ?? 0,
    machine: fields.machine ?? "",
    address: { host: host as string, port },
    etag,
    expiresAtMs: expiresAtMs ?? Number.POSITIVE_INFINITY,
    outstanding: 0,
    suspectUntilMs: 0,
  };
}

/** Whether the process behind an instance is certainly gone. */
export function isGone({ machine, pid }: Pick<Instance, "machine" | "pid">): boolean {
  if (machine !== thisMachine || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
  return isZombie(pid);
}

/** Ended, but its parent has not taken note yet: signals still find it. Only Linux tells. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) === "Z";
  } catch {
    return false;
  }
}

/** Whom to ask next: of those not tried and not under suspicion the one with the fewest calls, in turn when equal. */
export class Balancer {
  #turn = 0;

  pick(
    instances: readonly Instance[],
    tried: ReadonlySet<Instance> | undefined,
    nowMs: number,
  ): Instance | undefined {
    if (instances.length === 1) return tried?.has(instances[0] as Instance) ? undefined : instances[0];
    let best: Instance | undefined;
    const start = this.#turn++;
    for (let i = 0; i < instances.length; i++) {
      const candidate = instances[(start + i) % instances.length] as Instance;
      if (tried?.has(candidate)) continue;
      if (best === undefined || isBetter(candidate, best, nowMs)) best = candidate;
    }
    return best;
  }
}

function isBetter(candidate: Instance, best: Instance, nowMs: number): boolean {
  const isSuspect = candidate.suspectUntilMs > nowMs;
  const bestIsSuspect = best.suspectUntilMs > nowMs;
  if (isSuspect !== bestIsSuspect) return bestIsSuspect;
  return candidate.outstanding < best.outstanding;
}
