import type { Socket } from "node:net";
import { crc32 } from "node:zlib";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import { type Reply, ReplyReader } from "./memcached-reply.ts";

export interface MemcachedOptions {
  /** `host:port` each. */
  hosts: readonly string[];
  /** For each server. */
  connectionsMax: number;
  timeoutMs: number;
  edges: Edges;
}

export interface Command {
  bytes: Uint8Array;
  /** Sending it again does no harm. */
  isRead: boolean;
}

const waitingMax = 20_000;
const firstPauseMs = 20;
const pauseMaxMs = 500;

/** Connections to memcached in its text protocol. A key has its server by the rule of Go's client, as Dapr's keys do. */
export class Memcached {
  readonly #servers: Server[];
  readonly #options: MemcachedOptions;
  #waiting = 0;
  #isClosed = false;

  constructor(options: MemcachedOptions) {
    this.#options = options;
    this.#servers = options.hosts.map((host) => new Server(host, options));
  }

  /** Rejects unless each server answers. */
  async check(): Promise<void> {
    const version = { bytes: Buffer.from("version\r\n"), isRead: true };
    await Promise.all(this.#servers.map((server) => this.#askServer(server, version)));
  }

  /** Which server a key has. */
  placeOf(key: string): number {
    return crc32(key) % this.#servers.length;
  }

  /** Rejects with `ServerUnavailable` when there is no answer; what the server refuses is an error with its words. */
  async ask(place: number, command: Command): Promise<Reply> {
    const server = this.#servers[place];
    if (server === undefined) throw new Error(`there is no server ${place}`);
    return this.#askServer(server, command);
  }

  close(): void {
    this.#isClosed = true;
    for (const server of this.#servers) server.close();
  }

  async #askServer(server: Server, command: Command): Promise<Reply> {
    if (this.#waiting >= waitingMax)
      throw unavailable(server.host, "too many requests wait already", "undone");
    this.#waiting++;
    try {
      return await this.#tried(server, command);
    } finally {
      this.#waiting--;
    }
  }

  /** Again until the time is over, unless it is a write that may have reached the server. */
  async #tried(server: Server, command: Command): Promise<Reply> {
    const { edges, timeoutMs } = this.#options;
    const endMs = edges.clock.monotonicMs() + timeoutMs;
    for (let tries = 0; ; tries++) {
      const leftMs = Math.max(1, endMs - edges.clock.monotonicMs());
      const link = server.link();
      let isSent = false;
      try {
        const answer = link.open().then(() => {
          isSent = true;
          return link.send(command.bytes);
        });
        return await withinTime(edges.clock, leftMs, answer, () => link.end(new Error("no answer in time")));
      } catch (error) {
        const outcome = isSent && !command.isRead ? "unknown" : "undone";
        const pauseMs = pauseBefore(tries, {
          firstMs: firstPauseMs,
          maxMs: pauseMaxMs,
          random: edges.random,
        });
        const isLate = edges.clock.monotonicMs() + pauseMs >= endMs;
        if (outcome === "unknown" || isLate || this.#isClosed)
          throw unavailable(server.host, messageOf(error), outcome, error);
        await pause(edges.clock, pauseMs);
      }
    }
  }
}

function unavailable(
  host: string,
  text: string,
  outcome: "undone" | "unknown",
  cause?: unknown,
): ServerUnavailable {
  return new ServerUnavailable(`memcached at ${host}: ${text}`, outcome, cause);
}

/** Some connections to one server, used by turns. */
class Server {
  readonly host: string;
  readonly #options: MemcachedOptions;
  readonly #links: Link[] = [];
  #turn = 0;

  constructor(host: string, options: MemcachedOptions) {
    this.host = host;
    this.#options = options;
  }

  /** An idle connection, else a new one while there may be more, else the next. */
  link(): Link {
    const usable = this.#links.filter((link) => !link.hasEnded);
    this.#links.splice(0, this.#links.length, ...usable);
    const idle = usable.find((link) => link.isIdle);
    if (idle !== undefined) return idle;
    if (usable.length < this.#options.connectionsMax) {
      const link = new Link(this.host, this.#options.edges);
      this.#links.push(link);
      return link;
    }
    return usable[this.#turn++ % usable.length] as Link;
  }

  close(): void {
    for (const link of this.#links) link.end(new Error("the component was closed"));
  }
}

/** One connection. Commands are sent without waiting for the answers of those before. */
class Link {
  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  readonly #opened: Promise<void>;
  readonly #asked: { resolve(reply: Reply): void; reject(error: Error): void }[] = [];
  #isOpen = false;
  #failure: Error | undefined;

  constructor(host: string, edges: Edges) {
    const socket = edges.sockets.connect(addressOf(host));
    this.#socket = socket;
    const opened = Promise.withResolvers<void>();
    this.#opened = opened.promise;
    opened.promise.catch(() => undefined);
    socket.on("connect", () => {
      this.#isOpen = true;
      opened.resolve();
    });
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("error", (error) => this.end(error));
    socket.on("close", () => {
      this.end(new Error("the connection was lost"));
      opened.reject(this.#failure ?? new Error("the connection was lost"));
    });
  }

  get hasEnded(): boolean {
    return this.#failure !== undefined;
  }

  get isIdle(): boolean {
    return this.#isOpen && this.#asked.length === 0;
  }

  open(): Promise<void> {
    return this.#opened;
  }

  send(bytes: Uint8Array): Promise<Reply> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    this.#asked.push({ resolve, reject });
    this.#socket.write(bytes);
    return promise;
  }

  /** Nothing more comes by it; who still waits is told why. */
  end(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#socket.destroy();
    for (const { reject } of this.#asked.splice(0)) reject(error);
  }

  #take(bytes: Uint8Array): void {
    try {
      for (const reply of this.#reader.read(bytes)) {
        const asked = this.#asked.shift();
        if (asked === undefined) throw new Error("an answer to nothing");
        asked.resolve(reply);
      }
    } catch (error) {
      this.end(error as Error);
    }
  }
}

function addressOf(host: string): { host: string; port: number } {
  const at = host.lastIndexOf(":");
  return { host: host.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(host.slice(at + 1)) };
}
