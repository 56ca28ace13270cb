import http2 from "node:http2";
import net from "node:net";

/** Sends bytes to a port and answers all that comes back until the other side ends, or `isEnough` says so. */
export function sendRaw(
  port: number,
  bytes: string | Buffer,
  isEnough: (received: string) => boolean = isWhole,
): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = net.connect(port, "127.0.0.1");
    const done = () => {
      socket.destroy();
      resolve(received);
    };
    socket.setTimeout(10_000, done);
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      if (isEnough(received)) done();
    });
    socket.on("error", done);
    socket.on("close", done);
    socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  });
}

/** Whether one whole answer with a Content-Length, or without a body, is there. */
function isWhole(received: string): boolean {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /content-length: (\d+)/i.exec(received.slice(0, end))?.[1];
  return received.length >= end + 4 + Number(length ?? 0);
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

/** An HTTP/2 connection for many requests; `status` is 0 for one that was reset. */
export function openHttp2(port: number) {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  return {
    request(
      headers: http2.OutgoingHttpHeaders,
      body?: string,
    ): Promise<{ status: number; headers: object; text: string }> {
      return new Promise((resolve) => {
        const stream = session.request(headers, { endStream: body === undefined });
        let [status, text, answered]: [number, string, object] = [0, "", {}];
        stream.on("response", (got) => {
          status = Number(got[":status"]);
          answered = got;
        });
        stream.on("data", (chunk: Buffer) => {
          text += chunk.toString("latin1");
        });
        stream.on("error", () => undefined);
        stream.on("close", () => resolve({ status, headers: answered, text }));
        if (body !== undefined) stream.end(body);
      });
    },
    close: () => session.destroy(),
  };
}
