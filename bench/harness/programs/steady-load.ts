// HTTP requests at a steady rate (an open loop), and how long each took from the moment it was due.
// Arguments: port, path, requests per second, seconds, connections. Prints latencies in microseconds as JSON.
import { connect, type Socket } from "node:net";

const [port, path, rate, seconds, connectionCount] = process.argv.slice(2);
const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
const total = Math.floor(Number(rate) * Number(seconds));
const intervalMs = 1000 / Number(rate);

const latenciesUs: number[] = [];
const idle: Socket[] = [];
const due: number[] = [];
let sent = 0;

function open(): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port), noDelay: true });
    socket.once("connect", () => {
      idle.push(socket);
      done();
    });
    socket.once("error", fail);
  });
}

function send(socket: Socket, dueMs: number): void {
  let text = "";
  const onData = (chunk: Buffer) => {
    text += chunk.toString("latin1");
    if (!isWhole(text)) return;
    if (!text.startsWith("HTTP/1.1 2")) throw new Error(`bad answer: ${text.slice(0, 200)}`);
    socket.removeListener("data", onData);
    latenciesUs.push((performance.now() - dueMs) * 1000);
    const next = due.shift();
    if (next === undefined) idle.push(socket);
    else send(socket, next);
    if (latenciesUs.length === total) finish();
  };
  socket.on("data", onData);
  socket.write(request);
}

/** Whether a whole response has arrived; by length, or by the last chunk. */
function isWhole(text: string): boolean {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, headEnd + 2))?.[1];
  return length === undefined ? text.endsWith("0\r\n\r\n") : text.length >= headEnd + 4 + Number(length);
}

function finish(): void {
  console.log(JSON.stringify(latenciesUs.map(Math.round)));
  process.exit(0);
}

for (let index = 0; index < Number(connectionCount); index++) await open();
const startMs = performance.now();
// Timers fire late by up to a millisecond or more: each tick sends what has become due since the last one.
setInterval(() => {
  const now = performance.now();
  while (sent < total && startMs + sent * intervalMs <= now) {
    // Due when sent: the tick's own lateness says nothing about the server.
    const socket = idle.pop();
    if (socket === undefined) due.push(now);
    else send(socket, now);
    sent++;
  }
}, 1);
