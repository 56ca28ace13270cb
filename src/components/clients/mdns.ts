import dgram from "node:dgram";
import net from "node:net";
import type { Answer, Packet, Question } from "dns-packet";

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
  /** `key=value` each. */
  texts: readonly string[];
  /** 0: it is taken back. */
  ttlMs: number;
}

/** Browsers ask it for the types that there are (RFC 6763 §9). */
const typesName = "_services._dns-sd._udp.local";

/** What one instance is asked for by, and told by: of its types (PTR), where it is (SRV), what it is (TXT), its address. */
export function recordsOf(type: string, subtype: string, service: MdnsService): Answer[] {
  const { instance, host, port, texts, ttlMs } = service;
  const ttl = Math.ceil(ttlMs / 1000);
  const target = `${instance.slice(0, instance.indexOf("."))}.local`;
  return [
    { type: "PTR", name: type, ttl, data: instance },
    { type: "PTR", name: subtype, ttl, data: instance },
    { type: "SRV", name: instance, ttl, flush: true, data: { port, target, priority: 0, weight: 0 } },
    { type: "TXT", name: instance, ttl, flush: true, data: [...texts] },
    { type: net.isIPv6(host) ? "AAAA" : "A", name: target, ttl, flush: true, data: host },
    { type: "PTR", name: typesName, ttl, data: type },
  ];
}

/** Names are without case. */
export function isAskedFor({ name, type }: Question, records: readonly Answer[]): boolean {
  const isAny = (type as string) === "ANY";
  return records.some((record) => isSame(record.name, name) && (isAny || record.type === type));
}

/** The instances of a type that a packet tells all of. */
export function servicesIn({ answers = [], additionals = [] }: Packet, type: string): MdnsService[] {
  const records = [...answers, ...additionals];
  const dataOf = (kinds: readonly string[], name: string): unknown =>
    (
      records.find((one) => kinds.includes(one.type) && isSame(one.name, name)) as
        | { data?: unknown }
        | undefined
    )?.data;
  return records.flatMap((record): MdnsService[] => {
    if (record.type !== "SRV" || !record.name.toLowerCase().endsWith(`.${type}`)) return [];
    const { target, port } = record.data;
    const host = dataOf(["A", "AAAA"], target);
    const texts = dataOf(["TXT"], record.name);
    if (typeof host !== "string" || !net.isIP(host) || port < 1 || !Array.isArray(texts)) return [];
    const ttlMs = (record.ttl ?? 0) * 1000;
    return [{ instance: record.name, host: plain(host), port, texts: texts.map(String), ttlMs }];
  });
}

function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** IPv6 in its shortest form: packets have it in a longer one. */
function plain(host: string): string {
  return net.isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}
