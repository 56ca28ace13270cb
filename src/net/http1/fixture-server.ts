import { type RawPeer, rawClient } from "./fixture-peer.ts";
import { createHttpServer, type HttpServer } from "./server.ts";
import type { HttpServerOptions } from "./server-options.ts";
import type { HttpHandler, HttpReply } from "./types.ts";

export interface Started {
  server: HttpServer;
  port: number;
  /** A new client that speaks bytes. */
  peer(): RawPeer;
}

/** Starts servers for one test and stops them after it. */
export class ServerFixture {
  private readonly cleanups: (() => Promise<unknown> | unknown)[] = [];

  onEnd(cleanup: () => Promise<unknown> | unknown): void {
    this.cleanups.push(cleanup);
  }

  async end(): Promise<void> {
    for (const cleanup of this.cleanups.splice(0).reverse()) await cleanup();
  }

  async start(handler: HttpHandler, options: Partial<HttpServerOptions> = {}): Promise<Started> {
    const server = createHttpServer({ handler, ...options });
    this.onEnd(() => server.close());
    const bound = await server.listen({ port: 0 });
    const port = "port" in bound ? bound.port : 0;
    const peer = (): RawPeer => {
      const client = rawClient({ port });
      this.onEnd(() => client.socket.destroy());
      return client;
    };
    return { server, port, peer };
  }
}

export const reply = (body?: HttpReply["body"], status = 200, headers: string[] = []): HttpReply => ({
  status,
  headers,
  body,
});

export const get = (target: string, fields = ""): string =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

export const post = (body: string, fields = ""): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;

export async function* streamOf(...pieces: string[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}
