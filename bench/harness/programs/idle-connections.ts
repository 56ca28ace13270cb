// Opens kept-alive connections, each with one request behind it, and holds them until its input ends.
// Arguments: port, path, connections. Prints a line when all are open.
import { connect } from "node:net";

const [port, path, count] = process.argv.slice(2);
const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
const atOnce = 100;

function open(): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port) }, () => socket.write(request));
    socket.once("data", (chunk: Buffer) => {
      if (chunk.toString("latin1", 0, 10).startsWith("HTTP/1.1 2")) done();
      else fail(new Error(`bad answer: ${chunk.toString("latin1", 0, 100)}`));
    });
    socket.once("error", fail);
    socket.once("close", () => fail(new Error("a connection was closed")));
  });
}

for (let opened = 0; opened < Number(count); opened += atOnce) {
  await Promise.all(Array.from({ length: atOnce }, open));
}
console.log(count);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
setInterval(() => {}, 60_000);
