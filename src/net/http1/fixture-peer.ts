import { connect, createServer, type Server, type Socket } from "node:net";

/** Waits until `isTrue`, or fails after `deadlineMs`. */
export async function until(isTrue: () => boolean, what: string, deadlineMs = 5_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A client or server end that speaks bytes. */
export class RawPeer {
  readonly socket: Socket;
  received = "";
  isEnded = false;
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
    });
    socket.on("end", () => {
      this.isEnded = true;
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.isEnded = true;
    });
    socket.on("error", () => {});
  }

  send(text: string): void {
    this.socket.write(text, "latin1");
  }

  async untilReceived(text: string): Promise<void> {
    await until(
      () => this.received.includes(text),
      `${JSON.stringify(text)} in ${JSON.stringify(this.received)}`,
    );
  }

  async untilEnded(): Promise<void> {
    await until(() => this.isEnded, `the end after ${JSON.stringify(this.received)}`);
  }
}

export function rawClient(where: { port: number } | { path: string }): RawPeer {
  return new RawPeer(
    connect({ ...where, ...("port" in where ? { host: "127.0.0.1" } : {}), allowHalfOpen: true }),
  );
}

export interface RawServer {
  port: number;
  peers: RawPeer[];
  close(): Promise<void>;
}

/** A server that hands each connection to `onPeer`. */
export async function rawServer(onPeer: (peer: RawPeer) => void): Promise<RawServer> {
  const peers: RawPeer[] = [];
  const server: Server = createServer((socket) => {
    const peer = new RawPeer(socket);
    peers.push(peer);
    onPeer(peer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    peers,
    close: () =>
      new Promise((resolve) => {
        for (const peer of peers) peer.socket.destroy();
        server.close(() => resolve());
      }),
  };
}
