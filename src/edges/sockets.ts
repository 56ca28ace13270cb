import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions as TlsOptions } from "node:tls";
import { claimSocketPath, removeSocketFile } from "./socket-path.ts";

export type SocketAddress = { host: string; port: number } | { socketPath: string };

/** Connections as the rest of mecha sees them: the system's, or pairs in memory under a simulated clock. */
export interface Sockets {
  /** Starts to connect; the socket tells the outcome, as those of `node:net` do. */
  connect(address: SocketAddress, options?: ConnectOptions): Socket;
  /** Resolves when connections are accepted. A Unix socket's stale file is replaced when nobody answers on it. */
  listen(address: SocketAddress, options: ListenOptions): Promise<SocketListener>;
}

export interface ConnectOptions {
  /** The peer's end does not end this side too. */
  allowHalfOpen?: boolean;
  /** Present: TLS; the socket then tells `secureConnect`. */
  tls?: TlsOptions;
}

export interface ListenOptions {
  allowHalfOpen?: boolean;
  onConnection(socket: Socket): void;
}

export interface SocketListener {
  /** As bound: port 0 is replaced by the one chosen. */
  readonly address: SocketAddress;
  /** Accepts no more and removes a Unix socket's file. Connections that were accepted go on. */
  close(): Promise<void>;
}

export const realSockets: Sockets = {
  connect(address, { allowHalfOpen = false, tls } = {}) {
    const where = "socketPath" in address ? { path: address.socketPath } : address;
    return tls ? connectTls({ ...where, ...tls }) : connect({ ...where, noDelay: true, allowHalfOpen });
  },
  async listen(address, { allowHalfOpen = false, onConnection }) {
    if ("socketPath" in address) await claimSocketPath(address.socketPath);
    const server = createServer({ allowHalfOpen, noDelay: true }, onConnection);
    await listening(server, address);
    return {
      address: boundAddress(server, address),
      async close() {
        server.close();
        if ("socketPath" in address) await removeSocketFile(address.socketPath);
      },
    };
  },
};

function listening(server: Server, address: SocketAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen("socketPath" in address ? { path: address.socketPath } : address, () => {
      server.off("error", reject);
      // A connection that fails while it is accepted is the peer's trouble.
      server.on("error", () => {});
      resolve();
    });
  });
}

function boundAddress(server: Server, address: SocketAddress): SocketAddress {
  if ("socketPath" in address) return address;
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("listener has no address");
  return { host: bound.address, port: bound.port };
}
