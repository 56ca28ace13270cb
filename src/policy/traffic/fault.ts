import { sleep } from "../../edges/clock.ts";
import type { FaultSpec } from "../../resource/traffic.ts";
import { faultDelayMaxMs } from "../../resource/traffic-faults.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import { Refused, refusal } from "./refused.ts";
import type { Site } from "./site.ts";

/** What is to be done to one use. */
interface Injected {
  delayMs: number;
  abort: { http?: number; grpc?: number | undefined } | undefined;
  kbps: number;
}

const bytesPerKb = 1024;

/** Delays, aborts and slow answers on purpose; each is drawn for itself. */
export function openFault(spec: FaultSpec, { context, meterOf }: Site): UseLayer {
  const { clock, random } = context;
  const meter = meterOf("fault");
  const hits = (percentage: number): boolean => percentage > 0 && random.next() * 100 < percentage;
  return {
    async run<T>(use: Use, work: Work<T>, shape: Shape<T>) {
      const { signal, slowed } = shape;
      if (!isFor(spec, use)) return work(signal);
      const { delayMs, abort, kbps } = drawn(spec, use, hits);
      if (delayMs > 0) {
        meter.did("delay");
        await sleep(clock, delayMs, signal);
        if (signal?.aborted) throw signal.reason;
      }
      if (abort !== undefined) {
        meter.did("abort");
        throw new Refused(refusal({ why: spec.abort?.error ?? "fault filter abort", ...abort }));
      }
      const result = await work(signal);
      if (kbps <= 0 || slowed === undefined) return result;
      meter.did("bandwidth");
      return slowed(result, kbps * bytesPerKb, (ms) => sleep(clock, ms, signal));
    },
  };
}

function isFor({ commands, match }: FaultSpec, { operation, names, header }: Use): boolean {
  if (commands.length > 0 && !commands.includes(operation.toLowerCase())) return false;
  const { pathPrefix, headers } = match;
  if (pathPrefix !== "" && !names.some((name) => begins(name, pathPrefix))) return false;
  return headers.every(({ name, value }) => header(name) === value);
}

/** Paths by whole segments, as in the Gateway API; keys of a store with their owner's prefix or without. */
function begins(name: string, prefix: string): boolean {
  if (prefix.startsWith("/")) {
    const folder = prefix.endsWith("/") ? prefix : `${prefix}/`;
    return name === prefix || name.startsWith(folder);
  }
  const own = name.indexOf("||");
  return name.startsWith(prefix) || (own >= 0 && name.startsWith(prefix, own + 2));
}

function drawn(spec: FaultSpec, use: Use, hits: (percentage: number) => boolean): Injected {
  const asked = (name: string): number | undefined =>
    spec.isHeaderControlled ? numberOf(use.header(`x-envoy-fault-${name}`)) : undefined;
  // What is configured is the most that a header may ask for.
  const share = (name: string, configured: number | undefined): number =>
    Math.min(asked(`${name}-percentage`) ?? 100, configured ?? 100);
  const askedMs = asked("delay-request");
  const delayMs = askedMs ?? spec.delay?.fixedDelayMs ?? 0;
  const delayShare = share("delay-request", spec.delay?.percentage);
  const http = asked("abort-request");
  const grpc = asked("abort-grpc-request");
  const isAsked = isStatus(http) || isCode(grpc);
  const abortShare = share("abort-request", spec.abort?.percentage);
  const kbps = asked("throughput-response") ?? spec.bandwidthKbps;
  const isDelayed = delayMs > 0 && hits(delayShare);
  const isAborted = (isAsked || spec.abort !== undefined) && hits(abortShare);
  return {
    delayMs: isDelayed ? Math.min(delayMs, faultDelayMaxMs) : 0,
    abort: isAborted ? (isAsked ? askedAbort(http, grpc) : configuredAbort(spec.abort)) : undefined,
    kbps: kbps > 0 && hits(share("throughput-response", undefined)) ? kbps : 0,
  };
}

function askedAbort(http: number | undefined, grpc: number | undefined): Injected["abort"] {
  return isStatus(http) ? { http } : { grpc };
}

function configuredAbort(abort: FaultSpec["abort"]): Injected["abort"] {
  return abort?.grpcStatus === undefined ? { http: abort?.httpStatus ?? 503 } : { grpc: abort.grpcStatus };
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text.trim()) ? Number(text) : undefined;
}

function isStatus(status: number | undefined): status is number {
  return status !== undefined && status >= 200 && status < 600;
}

function isCode(code: number | undefined): code is number {
  return code !== undefined && code > 0 && code <= 16;
}
