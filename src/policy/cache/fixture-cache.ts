import { SimulatedClock, seededRandom } from "../../edges/simulated.ts";
import type { CacheSpec } from "../../resource/traffic.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { AnswerStore } from "./answer-store.ts";
import { CacheMeter } from "./cache-meter.ts";
import { HttpCache } from "./http-cache.ts";
import { MemoryStore } from "./memory-store.ts";
import type { CacheReply, CacheRequest, Send } from "./reply.ts";

const nothing = (): void => undefined;
export const quiet: Log = {
  ...{ debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing },
  scope: () => quiet,
};

/** A policy that adds nothing to what answers say. */
export const plainSpec: CacheSpec = {
  ...{ methods: ["GET", "HEAD"], cookies: [], vary: [], tags: "", store: "memory", storeTimeoutMs: 100 },
  key: { headers: [], queryInclude: [], queryExclude: [] },
  ...{ ignoreRequestCacheControl: false, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 },
  ...{ maxBodyBytes: 1000, maxBytes: 100_000 },
};

export type Lines = Record<string, string>;

export function requestOf(
  headers: Lines = {},
  { method = "GET", target = "/", signal = new AbortController().signal } = {},
): CacheRequest {
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    ...{ method, target, signal, hasBody: false },
    rawHeaders: Object.entries(headers).flat(),
    header: (name) => lower.get(name),
  };
}

export interface Bed {
  cache: HttpCache;
  meter: CacheMeter;
  /** Requests that reached the target, with the header lines they had. */
  sent: CacheRequest[];
  clock: SimulatedClock;
  passMs(ms: number): void;
  ask(headers?: Lines, more?: Parameters<typeof requestOf>[1]): Promise<CacheReply>;
}

export interface BedOptions {
  spec?: Partial<CacheSpec>;
  collapses?: boolean;
  store?: AnswerStore;
}

/** A cache with a target that is played, and a clock that stands still. */
export function bedOf(
  answer: (request: CacheRequest, signal: AbortSignal | undefined) => CacheReply | Promise<CacheReply>,
  { spec = {}, collapses = false, store }: BedOptions = {},
): Bed {
  const clock = new SimulatedClock();
  const random = seededRandom(1);
  const meter = new CacheMeter(createMetrics(), { app_id: "a", namespace: "n", target: "t" });
  const whole = { ...plainSpec, ...spec };
  const cache = new HttpCache({
    ...{ id: "t", meter, clock, random, collapses, spec: whole, log: quiet },
    store: store ?? new MemoryStore(whole.maxBytes),
    notCached: () => ({ status: 504, headers: [] }),
  });
  const sent: CacheRequest[] = [];
  const ask: Bed["ask"] = async (headers, more) => {
    const request = requestOf(headers, more);
    const send: Send = async (change) => {
      const lines = change?.headers ?? [...request.rawHeaders];
      const changed = { ...request, rawHeaders: lines, header: (name: string) => found(lines, name) };
      sent.push(changed);
      return answer(changed, change?.signal);
    };
    return cache.handle(request, send);
  };
  return { cache, meter, sent, clock, passMs: (ms) => clock.advance(ms), ask };
}

function found(lines: readonly string[], lowerName: string): string | undefined {
  const at = lines.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === lowerName);
  return at < 0 ? undefined : lines[at + 1];
}

export function statusOf({ headers }: CacheReply): string {
  const at = headers.lastIndexOf("Cache-Status");
  return at < 0 ? "" : (headers[at + 1] as string).replace("mecha; ", "");
}

export function textOf({ body }: CacheReply): string {
  return typeof body === "string" ? body : Buffer.from((body as Uint8Array) ?? []).toString();
}
