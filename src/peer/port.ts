import { createGrpcServer } from "../net/grpc/server.ts";
import { createHttpServer } from "../net/http1/server.ts";
import type { PeerHandlers } from "./server.ts";

export interface PeerPortOptions {
  handlers: PeerHandlers;
  host: string;
  /** 0: one is chosen. */
  port: number;
  /** Bound of one gRPC message; proxied messages are not looked at. */
  maxMessageBytes?: number;
}

/** The internal port: HTTP/1.1 and, told apart by its first bytes, HTTP/2 for proxied gRPC calls. */
export interface PeerPort {
  readonly port: number;
  close(options?: { graceMs?: number }): Promise<void>;
}

export async function openPeerPort({
  handlers,
  host,
  port,
  maxMessageBytes,
}: PeerPortOptions): Promise<PeerPort> {
  const grpc = createGrpcServer({ lookup: handlers.grpc, maxMessageBytes });
  const http = createHttpServer({ handler: handlers.http, onHttp2: (socket) => grpc.handleSocket(socket) });
  const bound = await http.listen({ host, port });
  return {
    port: "port" in bound ? bound.port : port,
    close: async (options) => {
      await Promise.all([http.close(options), grpc.close(options)]);
    },
  };
}
