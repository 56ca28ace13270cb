import type { Clock } from "../edges/clock.ts";
import type { Sockets } from "../edges/sockets.ts";
import { Code } from "../errors.ts";
import { createGrpcClient } from "../net/grpc/client.ts";
import { type GrpcCallOptions, type GrpcClient, GrpcError } from "../net/grpc/types.ts";
import { ConnectError } from "../net/http1/errors.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import type { Instance } from "./registry.ts";
import { addressTo, type PeerSecurity } from "./security.ts";

interface Link {
  client: GrpcClient;
  streams: number;
  idleSinceMs: number;
}

const idleMaxMs = 180_000;

/** One gRPC connection per peer process, closed when it has been idle for a while. */
export class PeerLinks {
  readonly #links = new Map<string, Link>();
  readonly #clock: Clock;
  readonly #sockets: Sockets | undefined;
  readonly #security: PeerSecurity | undefined;

  constructor(clock: Clock, sockets: Sockets | undefined, security: PeerSecurity | undefined) {
    this.#clock = clock;
    this.#sockets = sockets;
    this.#security = security;
  }

  /** Opens a stream on an instance. Rejects with ConnectError when it cannot be reached: nothing was sent then. */
  async open(
    instance: Instance,
    headers: Parameters<GrpcClient["open"]>[0],
    signal: AbortSignal,
  ): ReturnType<GrpcClient["open"]> {
    const link = this.#linkTo(instance);
    link.streams++;
    const release = (): void => {
      link.streams--;
      link.idleSinceMs = this.#clock.monotonicMs();
    };
    try {
      const stream = await link.client.open(headers, signal);
      const before = stream.onRelease;
      stream.onRelease = () => {
        before?.();
        release();
      };
      return stream;
    } catch (error) {
      release();
      if (!(error instanceof GrpcError) || error.code !== Code.Unavailable) throw error;
      throw new ConnectError(error.message, "ECONNREFUSED", { cause: error });
    }
  }

  /** One whole call, such as a health check. */
  async unary(
    instance: Instance,
    { path, request, options }: { path: string; request: Uint8Array; options: GrpcCallOptions },
  ): Promise<Uint8Array> {
    const link = this.#linkTo(instance);
    link.streams++;
    try {
      return await link.client.unary(path, request, options);
    } finally {
      link.streams--;
      link.idleSinceMs = this.#clock.monotonicMs();
    }
  }

  close(): void {
    for (const { client } of this.#links.values()) client.close();
    this.#links.clear();
  }

  #linkTo(instance: Instance): Link {
    const address = addressTo(instance, this.#security);
    // Another identity, or another certificate of it, is another connection.
    const key = `${instance.host}:${instance.port} ${address.tls?.identity ?? ""}`;
    return this.#links.get(key) ?? this.#add(key, address);
  }

  #add(key: string, { host, port, tls }: HttpAddress): Link {
    const nowMs = this.#clock.monotonicMs();
    // Peers come and go, each on a port of its own.
    for (const [other, link] of this.#links) {
      if (link.streams > 0 || nowMs - link.idleSinceMs < idleMaxMs) continue;
      link.client.close();
      this.#links.delete(other);
    }
    const client = createGrpcClient({ host, port }, { sockets: this.#sockets, tls });
    const link = { client, streams: 0, idleSinceMs: nowMs };
    this.#links.set(key, link);
    return link;
  }
}
