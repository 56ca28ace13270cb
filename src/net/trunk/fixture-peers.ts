import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { testCertificate, testKey } from "../grpc/fixture-tls.ts";
import { createHttpClient, type HttpClientOptions } from "../http1/client.ts";
import { createHttpServer, type HttpServer } from "../http1/server.ts";
import type { HttpAddress, HttpClient, HttpHandler } from "../http1/types.ts";
import { trunkProtocol } from "./protocol.ts";
import { TrunkServer } from "./server.ts";

/** A TLS port that knows trunks, or only HTTP/1.1, as older peers do. */
export interface Peer {
  address: HttpAddress;
  /** The TLS connections that were accepted. */
  carriers: Socket[];
  /** Served connections, on trunks or not. */
  http: HttpServer;
  close(graceMs: number): Promise<void>;
}

export interface PeerOptions {
  /** What it offers by ALPN. */
  protocols?: string[];
  port?: number;
  /** Instead of a trunk's server. */
  onTrunk?: (carrier: Socket) => void;
}

export class Peers {
  readonly #closers: (() => unknown)[] = [];

  async end(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  client(options: HttpClientOptions = {}): HttpClient {
    const client = createHttpClient(options);
    this.#closers.push(() => client.close());
    return client;
  }

  async start(handler: HttpHandler, options: PeerOptions = {}): Promise<Peer> {
    const { protocols = [trunkProtocol, "http/1.1"], port = 0, onTrunk } = options;
    const http = createHttpServer({ handler });
    const trunks = new TrunkServer();
    const carriers: Socket[] = [];
    const accept = (socket: TLSSocket): void => {
      carriers.push(socket);
      if (socket.alpnProtocol !== trunkProtocol) http.accept(socket);
      else if (onTrunk) onTrunk(socket);
      else trunks.carry(socket, (channel) => http.accept(channel));
    };
    const server = createServer({ cert: testCertificate, key: testKey, ALPNProtocols: protocols }, accept);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const close = async (graceMs: number): Promise<void> => {
      const stopped = ended(server);
      await Promise.all([trunks.close(graceMs), http.close({ graceMs })]);
      for (const carrier of carriers) carrier.destroy();
      await stopped;
    };
    this.#closers.push(() => close(0));
    const tls = { serverName: "grpc.test", ca: testCertificate, mayShare: true };
    const address = { host: "127.0.0.1", port: (server.address() as AddressInfo).port, tls };
    return { address, carriers, http, close };
  }
}

function ended(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
