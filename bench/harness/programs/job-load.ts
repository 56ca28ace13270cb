// Schedules jobs over HTTP, each acknowledged when it is synced to disk. Arguments: port, prefix, how many, the due time
// of the first (milliseconds since the epoch), and how far apart they are due. Prints how many seconds it took.
import { connect, type Socket } from "node:net";

const [port, prefix, countText, fromMs, everyMs] = process.argv.slice(2);
const connectionCount = 256;
const count = Number(countText);
const startedMs = performance.now();
let sent = 0;
let done = 0;

function nextRequest(): string {
  const dueMs = Math.floor(Number(fromMs) + sent * Number(everyMs));
  const body = JSON.stringify({
    dueTime: new Date(dueMs).toISOString(),
    data: { order: sent, note: "x".repeat(64) },
  });
  const lines = [
    `POST /v1.0-alpha1/jobs/${prefix}-${dueMs}-${sent} HTTP/1.1`,
    "host: localhost",
    "content-type: application/json",
    `content-length: ${body.length}`,
  ];
  sent++;
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

function open(): void {
  const socket: Socket = connect({ host: "127.0.0.1", port: Number(port), noDelay: true });
  const send = () => (sent < count ? socket.write(nextRequest()) : socket.end());
  socket.once("connect", send);
  socket.on("error", fail);
  // Only 204 has no body, so that each answer is one chunk.
  socket.on("data", (chunk: Buffer) => {
    const text = chunk.toString("latin1");
    if (!text.startsWith("HTTP/1.1 204") || !text.endsWith("\r\n\r\n"))
      fail(new Error(`bad answer: ${text}`));
    if (++done === count) finish();
    send();
  });
}

function finish(): void {
  console.log((performance.now() - startedMs) / 1000);
  process.exit(0);
}

function fail(error: Error): void {
  console.error(error.message);
  process.exit(1);
}

for (let index = 0; index < Math.min(connectionCount, count); index++) open();
