// An application that sends as many bytes as the path says (`GET /BYTES`), and counts what it is sent (anything else).
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const piece = Buffer.alloc(64 << 10, "x");

const server = createServer((request, response) => {
  if (request.method !== "GET") {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    request.on("end", () => response.end(String(bytes)));
    return;
  }
  let left = Number(request.url?.split("/").at(-1));
  const send = (): void => {
    while (left > 0) {
      const next = left < piece.length ? piece.subarray(0, left) : piece;
      left -= next.length;
      if (!response.write(next)) {
        response.once("drain", send);
        return;
      }
    }
    response.end();
  };
  send();
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
