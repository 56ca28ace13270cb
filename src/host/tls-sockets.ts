import type { Socket } from "node:net";
import { createSecureContext, createServer, type SecureContext, type Server } from "node:tls";
import { realSockets, type SocketListener, type Sockets } from "../edges/sockets.ts";
import { isHostname } from "../peer/routes/hostname.ts";

export interface Certificate {
  /** Of the listener; empty: any. */
  hostname: string;
  cert: string;
  key: string;
}

const handshakeMs = 10_000;

/** Ports behind TLS. The certificates can be replaced while connections are open: new ones get the new. */
export class TlsSockets implements Sockets {
  readonly connect = realSockets.connect;
  readonly #servers = new Set<Server>();
  #contexts: { hostname: string; context: SecureContext }[] = [];
  #first: Certificate | undefined;

  /** Throws when a certificate can not be used: those from before stay then. */
  replace(certificates: readonly Certificate[]): void {
    const contexts = certificates.map(({ hostname, cert, key }) => ({
      hostname,
      context: createSecureContext({ cert, key, minVersion: "TLSv1.2" }),
    }));
    // The most specific name first.
    this.#contexts = contexts.sort((a, b) => b.hostname.length - a.hostname.length);
    this.#first = certificates[0];
    for (const server of this.#servers) server.setSecureContext(this.#options());
  }

  async listen(
    address: Parameters<Sockets["listen"]>[0],
    { onConnection }: Parameters<Sockets["listen"]>[1],
  ): Promise<SocketListener> {
    if ("socketPath" in address) throw new Error("TLS listens on ports");
    const server = createServer({
      ...this.#options(),
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: handshakeMs,
      SNICallback: (name, answer) => answer(null, this.#contextOf(name)),
    });
    server.on("secureConnection", (socket) => {
      socket.setNoDelay(true);
      onConnection(socket as Socket);
    });
    // Whoever does not get through the handshake is gone already.
    server.on("tlsClientError", () => {});
    await listening(server, address);
    this.#servers.add(server);
    const bound = server.address();
    if (bound === null || typeof bound === "string") throw new Error("listener has no address");
    return {
      address: { host: bound.address, port: bound.port },
      close: async () => {
        this.#servers.delete(server);
        server.close();
      },
    };
  }

  #options(): { cert?: string; key?: string; minVersion: "TLSv1.2" } {
    const { cert, key } = this.#first ?? {};
    return { ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), minVersion: "TLSv1.2" };
  }

  #contextOf(name: string): SecureContext | undefined {
    return this.#contexts.find(({ hostname }) => isHostname(hostname, name.toLowerCase()))?.context;
  }
}

function listening(server: Server, address: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, () => {
      server.off("error", reject);
      // A connection that fails while it is accepted is the peer's trouble.
      server.on("error", () => {});
      resolve();
    });
  });
}
