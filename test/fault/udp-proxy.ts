// What spoils datagrams on their way: between a client and a server, or between two groups of multicast.
import dgram from "node:dgram";
import { seededRandom } from "../../src/edges/simulated.ts";

/** Both ways; late ones overtake each other. */
export interface DatagramFault {
  latency?: { ms: number; jitterMs: number };
  /** Of a hundred datagrams. */
  lostPercent?: number;
  doubledPercent?: number;
  /** Nothing comes through, and nobody is told. What was sent meanwhile is gone. */
  blackHole?: boolean;
}

const idleMs = 2_000;

/** Decides what becomes of each datagram. */
class Line {
  readonly #random = seededRandom(1);
  readonly #timers = new Set<NodeJS.Timeout>();
  #fault: DatagramFault = {};
  #dropped = 0;
  #seen = 0;

  /** Datagrams that came, whatever became of them. */
  get seen(): number {
    return this.#seen;
  }

  /** Takes the place of the fault before; `{}` heals. */
  set(fault: DatagramFault): void {
    this.#fault = fault;
  }

  /** The next so many do not arrive. */
  dropNext(datagrams: number): void {
    this.#dropped = datagrams;
  }

  pass(deliver: () => unknown): void {
    const { latency, lostPercent = 0, doubledPercent = 0, blackHole = false } = this.#fault;
    this.#seen++;
    if (blackHole || this.#isIn(lostPercent)) return;
    if (this.#dropped > 0) {
      this.#dropped--;
      return;
    }
    for (let left = this.#isIn(doubledPercent) ? 2 : 1; left > 0; left--) {
      if (latency === undefined) deliver();
      else this.#later(latency.ms + (this.#random.next() * 2 - 1) * latency.jitterMs, deliver);
    }
  }

  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #isIn(percent: number): boolean {
    return this.#random.next() * 100 < percent;
  }

  #later(delayMs: number, deliver: () => unknown): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      deliver();
    }, delayMs);
    this.#timers.add(timer);
  }
}

/** Stands before a server: each client has a socket of its own towards it, until nothing came for a while. */
export class UdpProxy {
  readonly line = new Line();
  readonly #serverPort: number;
  readonly #clients = new Map<number, Promise<dgram.Socket>>();
  #socket: dgram.Socket | undefined;
  port = 0;

  private constructor(serverPort: number) {
    this.#serverPort = serverPort;
  }

  static async before(serverPort: number): Promise<UdpProxy> {
    const proxy = new UdpProxy(serverPort);
    await proxy.up();
    return proxy;
  }

  async up(): Promise<void> {
    const socket = await bound(this.port);
    this.port = socket.address().port;
    this.#socket = socket;
    socket.on("message", (bytes, { port }) => {
      const towards = this.#towards(port);
      this.line.pass(() => void towards.then((to) => send(to, bytes, this.#serverPort)));
    });
  }

  /** Nobody listens any more: who sends is told so by the system. */
  async down(): Promise<void> {
    this.line.end();
    const socket = this.#socket;
    this.#socket = undefined;
    const clients = await Promise.all(this.#clients.values());
    this.#clients.clear();
    await Promise.all([...clients, ...(socket ? [socket] : [])].map(closed));
  }

  #towards(clientPort: number): Promise<dgram.Socket> {
    const known = this.#clients.get(clientPort);
    if (known !== undefined) return known;
    const opening = bound(0).then((socket) => {
      const idle = setTimeout(() => {
        if (this.#clients.delete(clientPort)) void closed(socket);
      }, idleMs);
      socket.once("close", () => clearTimeout(idle));
      return socket.on("message", (bytes) => {
        idle.refresh();
        this.line.pass(() => this.#socket !== undefined && send(this.#socket, bytes, clientPort));
      });
    });
    this.#clients.set(clientPort, opening);
    return opening;
  }
}

const group = "224.0.0.251";

/** Hands on what is sent to the group at one port to the group at the other, on the loopback interface. */
export class MulticastBridge {
  readonly line = new Line();
  readonly #sockets: dgram.Socket[] = [];

  static async between(onePort: number, otherPort: number): Promise<MulticastBridge> {
    const bridge = new MulticastBridge();
    // Out of ports of its own: so it knows what comes back of what it has sent, and hears who answers to it.
    const toOne = await bridge.#open(0);
    const toOther = await bridge.#open(0);
    bridge.#join(await bridge.#open(onePort), toOne, (bytes) => send(toOther, bytes, otherPort, group));
    bridge.#join(await bridge.#open(otherPort), toOther, (bytes) => send(toOne, bytes, onePort, group));
    return bridge;
  }

  async close(): Promise<void> {
    this.line.end();
    await Promise.all(this.#sockets.splice(0).map(closed));
  }

  async #open(port: number): Promise<dgram.Socket> {
    const socket = await bound(port, "0.0.0.0");
    socket.setMulticastInterface("127.0.0.1");
    this.#sockets.push(socket);
    return socket;
  }

  #join(listening: dgram.Socket, sending: dgram.Socket, handOn: (bytes: Buffer) => void): void {
    listening.addMembership(group, "127.0.0.1");
    listening.on("message", (bytes, { port }) => {
      if (port !== sending.address().port) this.line.pass(() => handOn(bytes));
    });
    sending.on("message", (bytes) => this.line.pass(() => handOn(bytes)));
  }
}

async function bound(port: number, address = "127.0.0.1"): Promise<dgram.Socket> {
  const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((done, failed) => {
    socket.once("error", failed).bind(port, address, () => done());
  });
  // A server that is away is told of by the system: it is the client's matter.
  socket.removeAllListeners("error").on("error", () => {});
  return socket;
}

function closed(socket: dgram.Socket): Promise<void> {
  return new Promise((done) => socket.close(() => done()));
}

function send(socket: dgram.Socket, bytes: Uint8Array, port: number, address = "127.0.0.1"): void {
  try {
    socket.send(bytes, port, address, () => {});
  } catch {
    // It was closed meanwhile.
  }
}
