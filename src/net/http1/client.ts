import { realSockets, type Sockets } from "../../edges/sockets.ts";
import { ClientCall } from "./client-call.ts";
import { ClientPool, type PoolSettings } from "./client-pool.ts";
import { ConnectError, RequestAborted } from "./errors.ts";
import type { HttpAddress, HttpClient, HttpClientRequest, HttpResponse } from "./types.ts";

export interface HttpClientOptions {
  /** Connections to one address at once. Default 256. */
  maxSocketsPerAddress?: number;
  /** Idle connections kept per address. Default 64. */
  maxIdlePerAddress?: number;
  /** How long an idle connection is kept. Default 4 s: below the 5 s after which Node servers close theirs. */
  idleTimeoutMs?: number;
  /** Default 5 s. */
  connectTimeoutMs?: number;
  /** Requests per address that may wait for a connection; one more fails with `EPOOLFULL`. Default 1,024. */
  maxQueued?: number;
  /** Bytes of a response head. Default 64 KiB. */
  maxHeaderBytes?: number;
  /** What is connected with. Default: the system's. */
  sockets?: Sockets;
}

/** A pooled HTTP/1.1 client on raw sockets; see `HttpClient`. */
export function createHttpClient(options: HttpClientOptions = {}): HttpClient {
  return new PooledClient({
    maxSocketsPerAddress: options.maxSocketsPerAddress ?? 256,
    maxIdlePerAddress: options.maxIdlePerAddress ?? 64,
    idleTimeoutMs: options.idleTimeoutMs ?? 4_000,
    connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
    maxQueued: options.maxQueued ?? 1_024,
    sockets: options.sockets ?? realSockets,
    limits: { maxBytes: options.maxHeaderBytes ?? 64 * 1024, maxFields: 512 },
  });
}

const clockTickMs = 15;
const clockIdleTicksMax = 100;

class PooledClient implements HttpClient {
  private readonly settings: PoolSettings;
  private readonly pools = new Map<string, ClientPool>();
  /** Callers mostly pass the same address object again: no key to build then. */
  private recent = new WeakMap<HttpAddress, ClientPool>();
  private sweeper: NodeJS.Timeout | undefined = undefined;
  private clock: NodeJS.Timeout | undefined = undefined;
  private isClosed = false;

  constructor(settings: PoolSettings) {
    this.settings = settings;
  }

  request(address: HttpAddress, request: HttpClientRequest): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) throw new ConnectError("client is closed", "ECANCELED");
      if (request.signal?.aborted) throw new RequestAborted(request.signal.reason);
      if (request.cancellation?.isCancelled) throw new RequestAborted(undefined);
      const pool = this.poolOf(address);
      if (request.timeoutMs !== undefined && !this.clock) this.startClock();
      pool.start(new ClientCall(address, request, { resolve, reject }, pool));
    });
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.sweeper);
    clearInterval(this.clock);
    for (const pool of this.pools.values()) pool.close();
    this.pools.clear();
    this.recent = new WeakMap();
  }

  private poolOf(address: HttpAddress): ClientPool {
    const known = this.recent.get(address);
    if (known) return known;
    const key = keyOf(address);
    let pool = this.pools.get(key);
    if (!pool) {
      pool = new ClientPool(address, this.settings);
      this.pools.set(key, pool);
      this.startSweeping();
    }
    this.recent.set(address, pool);
    return pool;
  }

  /** One timer for the timeouts of all calls, instead of one each; it ends when none has had any for a while. */
  private startClock(): void {
    let idleTicks = 0;
    this.clock = setInterval(() => {
      const now = performance.now();
      let hasDeadline = false;
      for (const pool of this.pools.values()) hasDeadline = pool.expire(now) || hasDeadline;
      idleTicks = hasDeadline ? 0 : idleTicks + 1;
      if (idleTicks < clockIdleTicksMax) return;
      clearInterval(this.clock);
      this.clock = undefined;
    }, clockTickMs);
    this.clock.unref();
  }

  private startSweeping(): void {
    if (this.sweeper) return;
    this.sweeper = setInterval(
      () => this.sweep(),
      Math.max(10, Math.min(1_000, this.settings.idleTimeoutMs / 4)),
    );
    this.sweeper.unref();
  }

  private sweep(): void {
    const now = performance.now();
    for (const [key, pool] of this.pools) {
      pool.sweep(now);
      if (!pool.isEmpty) continue;
      pool.close();
      this.pools.delete(key);
      this.recent = new WeakMap();
    }
    if (this.pools.size > 0) return;
    clearInterval(this.sweeper);
    this.sweeper = undefined;
  }
}

function keyOf(address: HttpAddress): string {
  const { host, port, socketPath, tls } = address;
  // A context is no text; its `identity` is.
  return JSON.stringify([socketPath ?? `${host}:${port}`, tls ? { ...tls, secureContext: undefined } : null]);
}
