// Streams bytes through an HTTP server. Arguments: port, path, bytes, `down` or `up`. Prints the bytes that arrived.
import { connect } from "node:net";

const [port, path, bytesText, direction] = process.argv.slice(2);
const bytes = Number(bytesText);
const piece = Buffer.alloc(64 << 10, "x");
const socket = connect({ host: "127.0.0.1", port: Number(port) });

let received = 0;
let head = "";
socket.on("data", (chunk: Buffer) => {
  received += chunk.length;
  if (head.length < 64 << 10) head += chunk.toString("latin1", 0, Math.min(chunk.length, 4096));
});
socket.on("close", () => {
  if (!head.startsWith("HTTP/1.1 200")) throw new Error(`bad answer: ${head.slice(0, 200)}`);
  const arrived = direction === "up" ? Number(/\r\n\r\n(?:[\da-f]+\r\n)?(\d+)/.exec(head)?.[1]) : received;
  console.log(arrived);
});

if (direction === "up") {
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ${bytes}\r\n\r\n`,
  );
  let left = bytes;
  const send = (): void => {
    while (left > 0) {
      const next = left < piece.length ? piece.subarray(0, left) : piece;
      left -= next.length;
      if (!socket.write(next)) {
        socket.once("drain", send);
        return;
      }
    }
  };
  send();
} else socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`);
