// HTTP requests at a rate that does not care how the server is (an open loop). Arguments: port, path, requests per
// second, seconds, connections, and within how many milliseconds of being due an answer is of use.
// Prints, as JSON: requests sent, answers of use (2xx in time), refused (other statuses), failed, all latencies in ms.
import { connect, type Socket } from "node:net";

const [port, path, rate, seconds, connectionCount, usefulMs] = process.argv.slice(2);
const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
const total = Math.floor(Number(rate) * Number(seconds));
const intervalMs = 1000 / Number(rate);
const giveUpMs = 5_000;

const report = { sent: 0, useful: 0, refused: 0, failed: 0, latenciesMs: [] as number[] };
const idle: Socket[] = [];
let answered = 0;

function open(): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port), noDelay: true }, () => {
      idle.push(socket);
      done();
    });
    socket.once("error", fail);
  });
}

function send(dueMs: number): void {
  report.sent++;
  const socket = idle.pop();
  // A client that has no connection left gives up, as its user would.
  if (socket === undefined) {
    report.failed++;
    answered++;
    return;
  }
  let text = "";
  const end = (status: number): void => {
    clearTimeout(late);
    socket.removeAllListeners("data");
    const tookMs = performance.now() - dueMs;
    report.latenciesMs.push(Math.round(tookMs * 100) / 100);
    if (status >= 200 && status < 300 && tookMs <= Number(usefulMs)) report.useful++;
    else if (status === 0) report.failed++;
    else report.refused++;
    answered++;
    if (status !== 0) idle.push(socket);
  };
  const late = setTimeout(() => {
    end(0);
    socket.destroy();
    open().catch(() => {});
  }, giveUpMs);
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0);
    if (text.length >= headEnd + 4 + length) end(Number(text.slice(9, 12)));
  });
  socket.write(request);
}

for (let index = 0; index < Number(connectionCount); index++) await open();
const startMs = performance.now();
const ticker = setInterval(() => {
  const now = performance.now();
  while (report.sent < total && startMs + report.sent * intervalMs <= now)
    send(startMs + report.sent * intervalMs);
  if (report.sent < total || answered < total) return;
  clearInterval(ticker);
  console.log(JSON.stringify(report));
  process.exit(0);
}, 1);
