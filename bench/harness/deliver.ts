// Rounds that publish under load and end when the app has got every message.
import type { Round } from "./bench.ts";
import { type HttpLoad, httpRound } from "./load.ts";
import { cpuUs } from "./proc.ts";

const drainTimeoutMs = 120_000;

/** A publication of an event with a text under `value`. */
export function publishLoad(port: number, value: string): HttpLoad {
  const headers = { "content-type": "application/json" };
  return {
    port,
    path: "/v1.0/publish/pubsub/bench",
    method: "POST",
    headers,
    body: JSON.stringify({ value }),
  };
}

/** The round ends when the app has got every message, and is divided by messages delivered. */
export async function publishRound(
  pid: number,
  load: HttpLoad,
  appPort: number,
  seconds: number,
): Promise<Round> {
  const cpuBefore = cpuUs(pid);
  const countBefore = await deliveredCount(appPort);
  const startedMs = performance.now();
  const { requests } = await httpRound(pid, load, seconds);
  const delivered = await drained(appPort, countBefore + requests);
  return {
    requests: delivered - countBefore,
    cpuUs: cpuUs(pid) - cpuBefore,
    seconds: (performance.now() - startedMs) / 1000,
  };
}

/** Waits for the messages that were acknowledged, and for those under way when the load ended. */
async function drained(appPort: number, wanted: number): Promise<number> {
  const deadline = Date.now() + drainTimeoutMs;
  for (let last = -1; ; ) {
    const count = await deliveredCount(appPort);
    if (count >= wanted && count === last) return count;
    if (Date.now() > deadline) throw new Error(`${count} of ${wanted} messages were delivered`);
    last = count;
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function deliveredCount(appPort: number): Promise<number> {
  return Number(await (await fetch(`http://127.0.0.1:${appPort}/count`)).text());
}
