import type { Socket } from "node:net";
import type { Sockets } from "../../src/edges/sockets.ts";

export interface RecordedMessage {
  line: string;
  fields: [name: string, value: string][];
  body: string;
}

export interface RecordingApp {
  /** What was asked since the last `take`, without the runtime's own questions. */
  take(): RecordedMessage[];
  /** Bytes that are no message as mecha writes them. */
  readonly violations: string[];
  close(): Promise<void>;
}

/** A message as mecha writes it, and nothing looser: read with no code of mecha's. */
const headPattern =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!"$-~\x80-\xff]+ HTTP\/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n/;
const chunkPattern = /^([0-9a-f]+)\r\n/i;

/** An app on a bare socket that keeps every byte it gets, and answers each message with its `x-marker`. */
export async function recordingApp(sockets: Sockets, port: number): Promise<RecordingApp> {
  const messages: RecordedMessage[] = [];
  const violations: string[] = [];
  const onConnection = (socket: Socket): void => {
    let held = "";
    const read = (): void => {
      for (let message = readMessage(held); message !== undefined; message = readMessage(held)) {
        if (typeof message === "string") {
          violations.push(message);
          socket.destroy();
          return;
        }
        held = held.slice(message.size);
        const isOwn = /^(?:GET|OPTIONS) \/(?:dapr|healthz)/.test(message.line);
        if (!isOwn) messages.push(message);
        const marker = message.fields.find(([name]) => name.toLowerCase() === "x-marker")?.[1] ?? "none";
        socket.write(`HTTP/1.1 ${isOwn ? 404 : 200} X\r\nx-answers: ${marker}\r\nContent-Length: 0\r\n\r\n`);
      }
    };
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      held += chunk.toString("latin1");
      read();
    });
    // What is cut off in the middle is no message.
    socket.on("end", () => socket.destroy());
  };
  const listener = await sockets.listen({ host: "127.0.0.1", port }, { onConnection });
  return { take: () => messages.splice(0), violations, close: () => listener.close() };
}

/** The first message; a text when it is not one; `undefined` until it is whole. */
function readMessage(held: string): (RecordedMessage & { size: number }) | string | undefined {
  const end = held.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = held.slice(0, end + 4);
  if (!headPattern.test(head)) return `no message: ${JSON.stringify(head)}`;
  const [line = "", ...rest] = head.slice(0, -4).split("\r\n");
  const fields = rest.map((each): [string, string] => {
    const colon = each.indexOf(":");
    return [each.slice(0, colon), each.slice(colon + 1).trim()];
  });
  const of = (name: string) =>
    fields.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value);
  const [lengths, codings, hosts] = [of("content-length"), of("transfer-encoding"), of("host")];
  if (hosts.length !== 1 || lengths.length + codings.length > 1)
    return `framed twice: ${JSON.stringify(head)}`;
  if (codings.length === 1) {
    if (codings[0] !== "chunked") return `coding ${codings[0]}`;
    const read = readChunks(held, head.length);
    return typeof read === "object" ? { line, fields, ...read } : read;
  }
  const size = head.length + Number(lengths[0] ?? 0);
  return held.length < size ? undefined : { line, fields, body: held.slice(head.length, size), size };
}

function readChunks(held: string, from: number): { body: string; size: number } | string | undefined {
  let body = "";
  let at = from;
  while (true) {
    const lineEnd = held.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = chunkPattern.exec(held.slice(at, lineEnd + 2))?.[1];
    if (size === undefined) return `no chunk: ${JSON.stringify(held.slice(at))}`;
    const length = Number.parseInt(size, 16);
    const next = lineEnd + 2 + length + 2;
    if (held.length < next) return undefined;
    if (held.slice(next - 2, next) !== "\r\n") return `chunk without end: ${JSON.stringify(held.slice(at))}`;
    body += held.slice(lineEnd + 2, next - 2);
    at = next;
    if (length === 0) return { body, size: at };
  }
}
