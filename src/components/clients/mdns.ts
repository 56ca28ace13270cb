import dgram from "node:dgram";
import net from "node:net";
import type { Answer, Packet } from "dns-packet";

/** Multicast DNS (RFC 6762): packets out of, and into, some interfaces of this machine. */
export interface MdnsOptions {
  /** Addresses of the interfaces. */
  interfaces: readonly string[];
  port: number;
  /** For each packet that could be read. */
  onPacket(packet: Packet, from: PacketSource): void;
  onError(error: Error): void;
}

export interface PacketSource {
  address: string;
  port: number;
}

const group = "224.0.0.251";
/** Larger ones are not sent, nor read: ours are some hundred bytes. */
const packetBytesMax = 1400;
/** What RFC 6762 asks for: packets that a router had passed on would have less. */
const hops = 255;

type Codec = typeof import("dns-packet");

export class MdnsLink {
  readonly #options: MdnsOptions;
  readonly #codec: Codec;
  readonly #sockets = new Map<string, dgram.Socket>();
  readonly #sending = new Set<Promise<void>>();

  private constructor(options: MdnsOptions, codec: Codec) {
    this.#options = options;
    this.#codec = codec;
  }

  /** Rejects when none of the interfaces can be used. */
  static async open(options: MdnsOptions): Promise<MdnsLink> {
    const link = new MdnsLink(options, await import("dns-packet"));
    const failures: Error[] = [];
    for (const address of options.interfaces) {
      await link.#join(address).catch((error: Error) => failures.push(error));
    }
    if (link.#sockets.size === 0) {
      const why = failures.map(({ message }) => message).join("; ") || "this machine has no IPv4 address";
      throw new Error(`no interface can be used for multicast DNS: ${why}`);
    }
    for (const failure of failures) options.onError(failure);
    return link;
  }

  get port(): number {
    return this.#options.port;
  }

  /** Into all interfaces, or into those of the loopback alone. */
  send(packet: Packet, { isLocal = false } = {}): void {
    const bytes = this.#codec.encode(packet);
    for (const [address, socket] of this.#sockets) {
      if (isLocal && !isLoopback(address)) continue;
      this.#hand(socket, bytes, { address: group, port: this.#options.port });
    }
  }

  /** An answer to somebody who can not hear the group. */
  sendTo(to: PacketSource, packet: Packet): void {
    const [socket] = this.#sockets.values();
    if (socket !== undefined) this.#hand(socket, this.#codec.encode(packet), to);
  }

  /** What was sent is on its way first. */
  async close(): Promise<void> {
    await Promise.all(this.#sending);
    const closing = [...this.#sockets.values()].map(
      (socket) => new Promise<void>((done) => socket.close(() => done())),
    );
    this.#sockets.clear();
    await Promise.all(closing);
  }

  #hand(socket: dgram.Socket, bytes: Uint8Array, { address, port }: PacketSource): void {
    const sent = new Promise<void>((done) => {
      socket.send(bytes, port, address, (error) => {
        this.#sending.delete(sent);
        if (error !== null) this.#options.onError(error);
        done();
      });
    });
    this.#sending.add(sent);
  }

  async #join(address: string): Promise<void> {
    const socket = dgram.createSocket({ type: "udp4", reuseAddr: true });
    try {
      await new Promise<void>((done, fail) => {
        socket.once("error", fail);
        socket.bind(this.#options.port, "0.0.0.0", () => done());
      });
      socket.addMembership(group, address);
      socket.setMulticastInterface(address);
      socket.setMulticastLoopback(true);
      socket.setMulticastTTL(hops);
    } catch (error) {
      socket.close();
      throw new Error(`${address}: ${(error as Error).message}`, { cause: error });
    }
    socket.removeAllListeners("error");
    socket.on("error", (error: Error) => this.#options.onError(error));
    socket.on("message", (bytes, from) => this.#read(bytes, from));
    socket.unref();
    this.#sockets.set(address, socket);
  }

  /** Anybody may send anything here: what can not be read is nobody's. */
  #read(bytes: Uint8Array, { address, port }: dgram.RemoteInfo): void {
    if (bytes.byteLength > packetBytesMax) return;
    let packet: Packet;
    try {
      packet = this.#codec.decode(Buffer.from(bytes));
    } catch {
      return;
    }
    this.#options.onPacket(packet, { address, port });
  }
}

export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

/** Where a service is, as a packet tells it. */
export interface MdnsService {
  /** The whole name of the instance. */
  instance: string;
  host: string;
  port: number;
  /** 0: it is taken back. */
  ttlMs: number;
}

/** The records of one instance: of its type (PTR), where it is (SRV), what it is (TXT), and the address. */
export function recordsOf(type: string, service: MdnsService, texts: readonly string[]): Answer[] {
  const { instance, host, port, ttlMs } = service;
  const ttl = Math.ceil(ttlMs / 1000);
  const target = `${instance.slice(0, instance.indexOf("."))}.local`;
  return [
    { type: "PTR", name: type, ttl, data: instance },
    { type: "SRV", name: instance, ttl, flush: true, data: { port, target, priority: 0, weight: 0 } },
    { type: "TXT", name: instance, ttl, flush: true, data: [...texts] },
    { type: net.isIPv6(host) ? "AAAA" : "A", name: target, ttl, flush: true, data: host },
  ];
}

/** The instances of types with this ending that a packet tells of by their types. Ids of apps have case. */
export function servicesIn(
  { answers = [], additionals = [] }: Packet,
  ending: string,
): [string, MdnsService][] {
  const records = [...answers, ...additionals];
  const found: [string, MdnsService][] = [];
  for (const record of records) {
    if (record.type !== "SRV") continue;
    const instance = record.name;
    const type = instance.slice(instance.indexOf(".") + 1);
    const { target, port } = record.data;
    const address = records.find(
      ({ type: kind, name }) =>
        (kind === "A" || kind === "AAAA") && name.toLowerCase() === target.toLowerCase(),
    );
    const host = (address as { data?: unknown } | undefined)?.data;
    if (!type.endsWith(ending) || typeof host !== "string" || !net.isIP(host) || port < 1) continue;
    found.push([type, { instance, host: plain(host), port, ttlMs: (record.ttl ?? 0) * 1000 }]);
  }
  return found;
}

/** IPv6 in its shortest form: packets have it in a longer one. */
function plain(host: string): string {
  return net.isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}
