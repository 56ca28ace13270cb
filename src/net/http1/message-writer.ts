/** A socket as far as writing goes. */
export interface ByteSink {
  readonly writableLength: number;
  readonly writableCorked: number;
  /** Only on TLS sockets. */
  readonly encrypted?: boolean;
  write(data: string | Uint8Array, encoding?: BufferEncoding): boolean;
  cork(): void;
  uncork(): void;
}

/** Messages up to this are put together, so that each is one write. */
const joinedBytesMax = 32 * 1024;

/**
 * Where messages are put together: allocating a buffer for each costs five times the copying. A socket that took
 * all of it at once keeps no reference; any other has the buffer to itself and the next message gets a new one.
 */
let desk: Buffer | undefined;

function deskFor(sink: ByteSink): Buffer | undefined {
  if (sink.writableLength > 0 || sink.writableCorked > 0 || sink.encrypted === true) return undefined;
  desk ??= Buffer.allocUnsafeSlow(joinedBytesMax);
  return desk;
}

function flush(sink: ByteSink, joined: Buffer): boolean {
  const hasRoom = sink.write(joined);
  if (sink.writableLength > 0) desk = undefined;
  return hasRoom;
}

/** Writes a head (one byte per character) and its body, in one piece when small. */
export function writeMessage(sink: ByteSink, head: string, body: Uint8Array): boolean {
  const total = head.length + body.length;
  if (body.length === 0) return writeText(sink, head, "");
  if (total > joinedBytesMax) {
    sink.write(head, "latin1");
    return sink.write(body);
  }
  const shared = deskFor(sink);
  const joined = shared ?? Buffer.allocUnsafe(total);
  joined.write(head, 0, "latin1");
  joined.set(body, head.length);
  return shared ? flush(sink, shared.subarray(0, total)) : sink.write(joined);
}

/** Writes a head and a text body, both of one byte per character. */
export function writeText(sink: ByteSink, head: string, text: string): boolean {
  const total = head.length + text.length;
  const shared = total > joinedBytesMax ? undefined : deskFor(sink);
  if (!shared) return sink.write(head + text, "latin1");
  shared.write(head, 0, "latin1");
  if (text !== "") shared.write(text, head.length, "latin1");
  return flush(sink, shared.subarray(0, total));
}

/** Writes one chunk of a chunked body. */
export function writeChunk(sink: ByteSink, chunk: Uint8Array): boolean {
  const size = `${chunk.length.toString(16)}\r\n`;
  const total = size.length + chunk.length + 2;
  if (total > joinedBytesMax) {
    sink.cork();
    sink.write(size, "latin1");
    sink.write(chunk);
    const hasRoom = sink.write("\r\n", "latin1");
    sink.uncork();
    return hasRoom;
  }
  const shared = deskFor(sink);
  const joined = shared ?? Buffer.allocUnsafe(total);
  joined.write(size, 0, "latin1");
  joined.set(chunk, size.length);
  joined.write("\r\n", total - 2, "latin1");
  return shared ? flush(sink, shared.subarray(0, total)) : sink.write(joined);
}
