// A DNS server that knows some names, as that of a cluster knows its services.
import dgram from "node:dgram";
import net from "node:net";
import { type Answer, AUTHORITATIVE_ANSWER, decode, encode } from "dns-packet";

export interface DnsServer {
  readonly port: number;
  /** `TYPE name` of each question. */
  readonly asked: string[];
  /** Names and their addresses; others do not exist. */
  readonly zone: Map<string, string[]>;
  isSilent: boolean;
  close(): Promise<void>;
}

const noSuchName = 3;

export async function startDns(names: Record<string, string[]> = {}): Promise<DnsServer> {
  const socket = dgram.createSocket("udp4");
  socket.on("message", (bytes, from) => {
    const { id, questions = [] } = decode(Buffer.from(bytes));
    const [question] = questions;
    if (question === undefined || server.isSilent) return;
    const { name, type } = question;
    server.asked.push(`${type} ${name}`);
    const addresses = server.zone.get(name);
    const ofType = (addresses ?? []).filter((one) => net.isIPv6(one) === (type === "AAAA"));
    const answers = ofType.map(
      (data): Answer => ({ type: type === "AAAA" ? "AAAA" : "A", name, ttl: 0, data }),
    );
    const flags = AUTHORITATIVE_ANSWER | (addresses === undefined ? noSuchName : 0);
    socket.send(encode({ type: "response", id, flags, questions, answers }), from.port, from.address);
  });
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", () => done()));
  const server = {
    port: socket.address().port,
    asked: [] as string[],
    zone: new Map(Object.entries(names)),
    isSilent: false,
    close: () => new Promise<void>((done) => socket.close(() => done())),
  };
  return server;
}
