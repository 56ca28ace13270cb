import type { Socket } from "node:net";
import type { Clock } from "./clock.ts";
import { SimulatedSocket } from "./simulated-socket.ts";
import type { ConnectOptions, ListenOptions, SocketAddress, SocketListener, Sockets } from "./sockets.ts";

/** What both ends of a simulated connection share. */
export interface Line {
  /** How long each byte is under way, counted by the simulated clock; 0: until the next turn of the event loop. */
  latencyMs: number;
  readonly clock: Clock;
}

interface OpenListener {
  readonly options: ListenOptions;
  readonly address: SocketAddress;
  readonly connections: Set<SimulatedSocket>;
}

const firstFreePort = 49_152;

/** A network in memory: one machine on which every host name without a listener of its own is every other. */
export class SimulatedSockets implements Sockets, Line {
  readonly clock: Clock;
  latencyMs = 0;
  readonly #listeners = new Map<string, OpenListener>();
  readonly #connections = new Set<SimulatedSocket>();
  #lastPort = firstFreePort - 1;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  connect(address: SocketAddress, options: ConnectOptions = {}): Socket {
    const client = new SimulatedSocket(this, { ...options, address });
    if (options.tls) client.destroy(new Error("simulated sockets speak no TLS"));
    else client.carry(() => this.#arrive(client, address));
    return client.asSocket();
  }

  async listen(address: SocketAddress, options: ListenOptions): Promise<SocketListener> {
    const bound = "port" in address && address.port === 0 ? { ...address, port: ++this.#lastPort } : address;
    const key = keyOf(bound);
    if (this.#listeners.has(key))
      throw coded("EADDRINUSE", `listen EADDRINUSE: address already in use ${key}`);
    const listener = { options, address: bound, connections: new Set<SimulatedSocket>() };
    this.#listeners.set(key, listener);
    return { address: bound, close: async () => void this.#listeners.delete(key) };
  }

  /** Connections that are open, counted once. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Breaks connections without a word to the data under way: those to an address, or all. */
  cut(address?: SocketAddress): void {
    const listener = address && this.#listenerOf(address);
    const victims = listener ? listener.connections : address ? [] : this.#connections;
    for (const accepted of [...victims]) accepted.breakBoth();
  }

  #arrive(client: SimulatedSocket, address: SocketAddress): void {
    if (client.destroyed) return;
    const listener = this.#listenerOf(address);
    if (listener === undefined) {
      const missing = "socketPath" in address ? "ENOENT" : "ECONNREFUSED";
      client.destroy(coded(missing, `connect ${missing} ${keyOf(address)}`));
      return;
    }
    const { allowHalfOpen = false, onConnection } = listener.options;
    const accepted = new SimulatedSocket(this, { allowHalfOpen, address: listener.address });
    for (const set of [listener.connections, this.#connections]) {
      set.add(accepted);
      accepted.once("close", () => set.delete(accepted));
    }
    client.join(accepted);
    onConnection(accepted.asSocket());
  }

  #listenerOf(address: SocketAddress): OpenListener | undefined {
    const own = this.#listeners.get(keyOf(address));
    if (own !== undefined || "socketPath" in address) return own;
    const { port } = address;
    return (
      this.#listeners.get(keyOf({ host: "0.0.0.0", port })) ??
      this.#listeners.get(keyOf({ host: "::", port }))
    );
  }
}

function keyOf(address: SocketAddress): string {
  if ("socketPath" in address) return address.socketPath;
  return `${address.host === "localhost" ? "127.0.0.1" : address.host}:${address.port}`;
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
