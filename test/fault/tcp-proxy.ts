// A TCP proxy that spoils what passes through it; the names of the faults are toxiproxy's.
import { createServer, type Server, Socket } from "node:net";
import { freePort } from "../../scripts/free-port.ts";
import { seededRandom } from "../../src/edges/simulated.ts";

/** Both ways. What is given at once acts on what arrives from then on, of the connections there are too. */
export interface Fault {
  /** Each piece comes so much later, give or take the jitter, in order. */
  latency?: { ms: number; jitterMs: number };
  /** Nothing comes through, and nobody is told; what was sent meanwhile comes when it is healed, as TCP repeats it. */
  blackHole?: boolean;
  /** Pieces of 1 to so many bytes. */
  slicer?: { bytesMax: number };
  bandwidth?: { bytesPerSecond: number };
}

interface Pair {
  client: Socket;
  upstream: Socket;
  /** The client is to believe that all is well. */
  isHalfOpen: boolean;
}

/** How much of one direction may wait in the proxy. */
const heldBytesMax = 256 * 1024;
const bandwidthStepMs = 20;

export class TcpProxy {
  readonly port: number;
  readonly #upstreamPort: number;
  readonly #random;
  readonly #pairs = new Set<Pair>();
  #fault: Fault = {};
  #changed = Promise.withResolvers<void>();
  #server: Server | undefined;
  #accepted = 0;

  private constructor(port: number, upstreamPort: number, seed: number) {
    this.port = port;
    this.#upstreamPort = upstreamPort;
    this.#random = seededRandom(seed);
  }

  static async before(
    upstreamPort: number,
    { port, seed = 1 }: { port?: number | undefined; seed?: number } = {},
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy(port ?? (await freePort()), upstreamPort, seed);
    await proxy.up();
    return proxy;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Connections since the beginning. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Takes the place of the fault before; `{}` heals. */
  set(fault: Fault): void {
    this.#fault = fault;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Ends every connection with a reset. */
  reset(): void {
    for (const { client, upstream } of [...this.#pairs]) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  /** The server's side is gone, and the client hears nothing of it. */
  halfOpen(): void {
    for (const pair of this.#pairs) {
      pair.isHalfOpen = true;
      pair.upstream.destroy();
    }
  }

  /** Nobody listens any more: who connects is refused. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    const closed = new Promise((done) => server?.close(done));
    this.reset();
    await (server === undefined ? undefined : closed);
  }

  async up(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ noDelay: true }, (client) => this.#join(client));
    this.#server = server;
    await new Promise<void>((listening, failed) => {
      server.once("error", failed).listen(this.port, "127.0.0.1", listening);
    });
  }

  close(): Promise<void> {
    return this.down();
  }

  #join(client: Socket): void {
    this.#accepted++;
    const upstream = new Socket();
    const pair = { client, upstream, isHalfOpen: false };
    this.#pairs.add(pair);
    const ended = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    const lost = (): void => {
      if (!pair.isHalfOpen) ended();
    };
    client.on("error", ended).on("close", ended);
    upstream.setNoDelay(true);
    upstream.connect(this.#upstreamPort, "127.0.0.1");
    this.#pass(client, upstream, pair);
    const passed = this.#pass(upstream, client, pair);
    // A server may close once it has answered: what is on its way still arrives.
    upstream.on("error", lost).on("close", () => void passed().then(lost));
  }

  /** One direction, piece by piece in order. Returns how to wait for what came until then. */
  #pass(from: Socket, to: Socket, pair: Pair): () => Promise<void> {
    let held = 0;
    let last: Promise<void> = Promise.resolve();
    const later = (work: () => Promise<void> | void): void => {
      last = last.then(work);
    };
    from.on("data", (chunk: Buffer) => {
      const { latency } = this.#fault;
      const dueMs = performance.now() + (latency === undefined ? 0 : this.#delayMs(latency));
      held += chunk.length;
      if (held > heldBytesMax) from.pause();
      later(async () => {
        await pause(dueMs - performance.now());
        await this.#write(to, chunk);
        held -= chunk.length;
        if (held <= heldBytesMax && !from.destroyed) from.resume();
      });
    });
    from.on("end", () => {
      if (!pair.isHalfOpen) later(() => void to.end());
    });
    return () => last;
  }

  #delayMs({ ms, jitterMs }: NonNullable<Fault["latency"]>): number {
    return ms + (this.#random.next() * 2 - 1) * jitterMs;
  }

  async #write(to: Socket, chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      while (this.#fault.blackHole && !to.destroyed) await this.#changed.promise;
      const { slicer, bandwidth } = this.#fault;
      if (to.destroyed) return;
      let size = chunk.length - at;
      if (slicer !== undefined) size = Math.min(size, 1 + Math.floor(this.#random.next() * slicer.bytesMax));
      if (bandwidth !== undefined)
        size = Math.min(size, Math.ceil((bandwidth.bytesPerSecond * bandwidthStepMs) / 1000));
      const isTaken = to.write(chunk.subarray(at, at + size));
      at += size;
      if (bandwidth !== undefined) await pause((size * 1000) / bandwidth.bytesPerSecond);
      else if (slicer !== undefined) await new Promise((next) => setImmediate(next));
      if (!isTaken && !to.destroyed)
        await new Promise<void>((drained) => to.once("drain", drained).once("close", drained));
    }
  }
}

function pause(ms: number): Promise<void> | undefined {
  return ms <= 0 ? undefined : new Promise((done) => setTimeout(done, ms));
}
