import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import http from "node:http";
import net from "node:net";
import { Machine, type Sidecar, send, until } from "./invoke-fixture.ts";

const machine = new Machine();
let caller: Sidecar;
let strict: Sidecar;
/** Requests whose client has left, by path. */
const abandoned: string[] = [];
let arrived = 0;
const websocketKey = "dGhlIHNhbXBsZSBub25jZQ==";

function app(request: http.IncomingMessage, response: http.ServerResponse): void {
  const path = request.url ?? "";
  if (path === "/echo") request.pipe(response);
  else if (path === "/hash") hashBody(request, response);
  else if (path.startsWith("/zeros")) sendZeros(Number(path.split("?")[1]), response);
  else if (path === "/events") sendEvents(response);
  else if (path === "/hang") hang(request, response, path);
  else if (path === "/stale") breakOff(request, 999, '"ok"');
  else if (path === "/broken") breakOff(request, 10_000_000, "x".repeat(1000));
  else if (path === "/endless") sendEvents(response, () => hang(request, response, path));
  else response.end();
}

function hashBody(request: http.IncomingMessage, response: http.ServerResponse): void {
  const hash = createHash("sha1");
  request.on("data", (chunk: Buffer) => hash.update(chunk));
  request.on("end", () =>
    response.end(`${request.headers["content-length"] ?? "chunked"} ${hash.digest("hex")}`),
  );
}

const zeros = Buffer.alloc(256 * 1024);
function sendZeros(bytes: number, response: http.ServerResponse): void {
  response.setHeader("Content-Length", bytes);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const piece = zeros.subarray(0, Math.min(left, zeros.length));
      left -= piece.length;
      if (!response.write(piece)) {
        response.once("drain", more);
        return;
      }
    }
    response.end();
  };
  more();
}

/** Two events, the second only when the first has been seen by the client: a buffer in between would hang. */
let seenFirst = Promise.withResolvers<void>();
function sendEvents(response: http.ServerResponse, then = (): unknown => response.end()): void {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write("data: 1\n\n");
  seenFirst.promise.then(() => {
    response.write("data: 2\n\n");
    then();
  });
}

function hang(request: http.IncomingMessage, response: http.ServerResponse, path: string): void {
  arrived++;
  response.on("close", () => abandoned.push(path));
  request.resume();
}

function breakOff(request: http.IncomingMessage, announced: number, text: string): void {
  request.socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${announced}\r\n\r\n${text}`);
}

/** Accepts a WebSocket handshake and then echoes raw bytes. */
function acceptUpgrade(request: http.IncomingMessage, socket: net.Socket): void {
  if (request.url === "/refused") {
    socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    return;
  }
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-Caller: ${request.headers["dapr-caller-app-id"]}\r\n\r\nhello`,
  );
  socket.pipe(socket);
}

beforeAll(async () => {
  const { port, server } = await machine.app(app);
  server.on("upgrade", acceptUpgrade);
  caller = await machine.sidecar({ appId: "caller", appPort: port, maxBodyBytes: 1 << 30 });
  strict = await machine.sidecar({ appId: "strict", appPort: port, maxBodyBytes: 100_000 });
  await machine.sidecar({ appId: "callee", appPort: port });
});
afterAll(() => machine.close());

const get = (path: string, options: http.RequestOptions = {}): http.ClientRequest =>
  http.request({ host: "127.0.0.1", port: caller.port, path, agent: false, ...options });

const routes = [
  ["own app", "/v1.0/invoke/caller/method"],
  ["peer", "/v1.0/invoke/callee/method"],
] as const;

describe.each(routes)("streaming, %s", (_, prefix) => {
  test("server-sent events arrive one by one", async () => {
    seenFirst = Promise.withResolvers();
    const pieces: string[] = [];
    const request = get(`${prefix}/events`).end();
    const response = await new Promise<http.IncomingMessage>((resolve) => request.on("response", resolve));
    for await (const piece of response) {
      pieces.push(String(piece));
      seenFirst.resolve();
    }
    expect(pieces).toEqual(["data: 1\n\n", "data: 2\n\n"]);
  });

  test("a request body of unknown length flows while the answer does", async () => {
    const request = get(`${prefix}/echo`, { method: "POST", headers: { "Transfer-Encoding": "chunked" } });
    const responded = new Promise<http.IncomingMessage>((resolve) => request.on("response", resolve));
    request.write("one");
    const response = await responded;
    const pieces = response[Symbol.asyncIterator]();
    expect(String((await pieces.next()).value)).toBe("one");
    request.write("two");
    expect(String((await pieces.next()).value)).toBe("two");
    request.end();
    expect((await pieces.next()).done).toBe(true);
  });

  test("a body of known length keeps it, one without stays chunked", async () => {
    const body = Buffer.alloc(3_000_000, "abc");
    const sha1 = createHash("sha1").update(body).digest("hex");
    const known = await send(caller.url, `${prefix}/hash`, {
      method: "POST",
      body,
      headers: { "Content-Length": body.length },
    });
    expect(known.text).toBe(`3000000 ${sha1}`);
    const headers = { "Transfer-Encoding": "chunked" };
    expect((await send(caller.url, `${prefix}/hash`, { method: "POST", body, headers })).text).toBe(
      `chunked ${sha1}`,
    );
  });
});

describe.each(routes)("large and broken bodies, %s", (_, prefix) => {
  test("200 MB pass through in bounded memory, up and down, at the reader's pace", async () => {
    const bytes = 200 * 1024 * 1024;
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = (): void => {
      peak = Math.max(peak, process.memoryUsage.rss());
    };
    const response = await new Promise<http.IncomingMessage>((resolve) =>
      get(`${prefix}/zeros?${bytes}`).on("response", resolve).end(),
    );
    let received = 0;
    for await (const piece of response) {
      received += piece.length;
      watch();
    }
    expect(received).toBe(bytes);
    expect(response.headers["content-length"]).toBe(String(bytes));
    const upload = get(`${prefix}/hash`, { method: "POST", headers: { "Content-Length": bytes } });
    const answered = new Promise<http.IncomingMessage>((resolve) => upload.on("response", resolve));
    for (let left = bytes; left > 0; left -= zeros.length) {
      if (!upload.write(zeros)) await new Promise((resolve) => upload.once("drain", resolve));
      watch();
    }
    upload.end();
    expect((await answered).statusCode).toBe(200);
    (await answered).resume();
    // App, two runtimes and client are all in this process.
    expect((peak - before) / 1024 / 1024).toBeLessThan(150);
  }, 60_000);

  test("a body over the limit is refused with 500, announced or found out on the way", async () => {
    const body = Buffer.alloc(200_000);
    for (const headers of [{ "Content-Length": body.length }, { "Transfer-Encoding": "chunked" }]) {
      const reply = await send(strict.url, `${prefix.replace("caller", "strict")}/hash`, {
        method: "POST",
        body,
        headers,
      });
      expect(reply.status).toBe(500);
      expect(JSON.parse(reply.text)).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
      expect(reply.text).toContain("stream too large");
    }
  });
});

describe.each(routes)("ends, %s", (_, prefix) => {
  test("a client that leaves ends the app's work, before and during the answer", async () => {
    abandoned.length = 0;
    const before = arrived;
    const waiting = get(`${prefix}/hang`)
      .on("error", () => {})
      .end();
    await until(() => arrived > before);
    waiting.destroy();
    await until(() => abandoned.includes("/hang"));
    seenFirst = Promise.withResolvers();
    seenFirst.resolve();
    const streaming = get(`${prefix}/endless`).end();
    const response = await new Promise<http.IncomingMessage>((resolve) => streaming.on("response", resolve));
    response.on("error", () => {});
    await until(() => arrived > before + 1);
    streaming.destroy();
    await until(() => abandoned.includes("/endless"));
  });

  test("a short answer with a stale length is passed on, a long one breaks off", async () => {
    const stale = await send(caller.url, `${prefix}/stale`);
    expect(stale).toMatchObject({ status: 200, text: '"ok"' });
    await expect(send(caller.url, `${prefix}/broken`)).rejects.toThrow();
  });
});

describe.each(routes)("upgrades, %s", (_, prefix) => {
  test("WebSocket: the handshake and then bytes pass both ways, and the end of one side ends the other", async () => {
    const { socket, text } = await handshake(`${prefix}/chat`);
    await until(() => text().endsWith("hello"));
    expect(text()).toContain("HTTP/1.1 101 Switching Protocols\r\n");
    expect(text()).toContain("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    expect(text()).toContain("X-Caller: caller");
    const blob = "z".repeat(300_000);
    socket.write(blob);
    await until(() => text().endsWith(blob));
    socket.end();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  test("WebSocket: a refusal of the app is passed on", async () => {
    const { socket, text } = await handshake(`${prefix}/refused`);
    await until(() => text().endsWith("no"));
    expect(text()).toStartWith("HTTP/1.1 403 Forbidden");
    socket.destroy();
  });
});

async function handshake(path: string): Promise<{ socket: net.Socket; text(): string }> {
  const socket = net.connect({ host: "127.0.0.1", port: caller.port, allowHalfOpen: false });
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk;
  });
  socket.on("error", () => {});
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${websocketKey}\r\n\r\n`,
  );
  return { socket, text: () => received };
}
