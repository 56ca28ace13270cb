import { parseCacheControl } from "./cache-control.ts";
import type { CacheMeter } from "./cache-meter.ts";
import { Flights } from "./flights.ts";
import { lineOf } from "./header-lines.ts";
import { type CacheReply, type CacheRequest, dispose, gather, type Send } from "./reply.ts";

/** Lines that differ from request to request and change no answer. */
const noise = new Set([
  ...["host", "connection", "keep-alive", "date", "user-agent", "content-length"],
  ...["traceparent", "tracestate", "grpc-trace-bin", "baggage", "x-request-id", "x-correlation-id"],
]);
const bodyBytesMax = 1024 * 1024;

/** Equal reads in flight share one call, where nothing is kept. */
export class Collapsed {
  readonly #flights = new Flights<{ reply: CacheReply; isShared: boolean }>();
  readonly #meter: CacheMeter;

  constructor(meter: CacheMeter) {
    this.#meter = meter;
  }

  async handle(request: CacheRequest, send: Send): Promise<CacheReply> {
    const { method, signal } = request;
    const isRead = method === "GET" || method === "HEAD";
    if (!isRead || request.hasBody || request.header("upgrade") !== undefined) return send();
    const { value, isLeader } = await this.#flights.join(keyOf(request), signal, async (allLeft) => {
      const made = await whole(await send({ signal: allLeft }));
      if (!made.isShared && signal.aborted) dispose(made.reply);
      return made;
    });
    if (isLeader) return value.reply;
    if (!value.isShared) return send();
    this.#meter.count("collapsed");
    return value.reply;
  }
}

/** What says that it is for one caller, or is too long, stays with the one who leads. */
async function whole(reply: CacheReply): Promise<{ reply: CacheReply; isShared: boolean }> {
  const said = parseCacheControl(lineOf(reply.headers, "cache-control"));
  const isPersonal = said.noStore || said.private || lineOf(reply.headers, "set-cookie") !== undefined;
  if (isPersonal || reply.status === 101) return { reply, isShared: false };
  const gathered = await gather(reply, bodyBytesMax);
  if ("reply" in gathered) return { reply: gathered.reply, isShared: false };
  // HEAD and 304 tell the length of what they leave out.
  return reply.body === undefined
    ? { reply, isShared: true }
    : { reply: { ...reply, body: gathered.bytes }, isShared: true };
}

/** Two requests are equal when nothing but noise tells them apart. */
function keyOf(request: CacheRequest): string {
  return [request.method, request.target, headersKey(request)].join("\n");
}

export function headersKey({ rawHeaders }: CacheRequest): string {
  const lines: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!noise.has(name)) lines.push(`${name}: ${rawHeaders[i + 1]}`);
  }
  return lines.sort().join("\n");
}
