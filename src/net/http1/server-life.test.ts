import { afterEach, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rawClient, until } from "./fixture-peer.ts";
import { get, reply, ServerFixture } from "./fixture-server.ts";
import { createHttpServer } from "./server.ts";
import type { HttpReply } from "./types.ts";

const fixture = new ServerFixture();
afterEach(() => fixture.end());
const start = fixture.start.bind(fixture);

test("createHttpServer() cuts slow heads with 408 and idle connections silently", async () => {
  const { peer } = await start(() => reply("ok"), { headTimeoutMs: 80, keepAliveTimeoutMs: 80 });
  const slow = peer();
  slow.send("GET / HTTP/1.1\r\n");
  const idle = peer();
  idle.send(get("/"));
  const silent = peer();
  await Promise.all([slow.untilEnded(), idle.untilEnded(), silent.untilEnded()]);
  expect(slow.received).toContain("408 Request Timeout");
  expect(idle.received).toEndWith("ok");
  expect(silent.received).toBe("");
});

test("createHttpServer() cuts an upload that stalls and a reader that does not read", async () => {
  const failures: unknown[] = [];
  const { peer } = await start(
    async (request) => {
      if (request.method === "GET") return reply(Buffer.alloc(50_000_000));
      try {
        await request.body.bytes(100);
      } catch (error) {
        failures.push(error);
      }
      return reply("x");
    },
    { stallTimeoutMs: 100 },
  );
  const upload = peer();
  upload.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!");
  const download = peer();
  download.socket.pause();
  download.send(get("/"));
  await upload.untilEnded();
  expect(upload.received).toContain("408");
  expect(failures.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 300));
  download.socket.resume();
  await download.untilEnded();
  expect(download.received.length).toBeLessThan(50_000_000);
});

test("createHttpServer() refuses connections over its maximum with 503", async () => {
  const { peer, server } = await start(() => reply("ok"), { maxConnections: 1 });
  const first = peer();
  first.send(get("/"));
  await first.untilReceived("ok");
  const second = peer();
  await second.untilEnded();
  expect(second.received).toContain("503 Service Unavailable");
  first.socket.destroy();
  await until(() => server.connectionCount === 0, "no connection");
  const third = peer();
  third.send(get("/"));
  await third.untilReceived("ok");
});

test("server.close() ends idle connections, finishes requests, then cuts", async () => {
  const gate = Promise.withResolvers<void>();
  const targets: string[] = [];
  const { peer, server } = await start(async (request) => {
    targets.push(request.target);
    if (request.target === "/slow") await gate.promise;
    if (request.target === "/never") await new Promise(() => {});
    return reply("finished");
  });
  const [idle, slow, never] = [peer(), peer(), peer()];
  idle.send(get("/idle"));
  slow.send(get("/slow"));
  never.send(get("/never"));
  await until(() => targets.length === 3, "three requests");
  const closing = server.close({ graceMs: 300 });
  await idle.untilEnded();
  gate.resolve();
  await slow.untilEnded();
  expect(slow.received).toContain("Connection: close\r\n\r\nfinished");
  await closing;
  await never.untilEnded();
  expect(never.received).toBe("");
});

test("server.listen() serves several addresses and a Unix socket, and clears only stale files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "http1-"));
  fixture.onEnd(() => rm(folder, { recursive: true }));
  const path = join(folder, "s");
  const handler = (): HttpReply => reply("ok");
  const { server, port } = await start(handler);
  await server.listen({ port: 0 });
  await server.listen({ socketPath: path });
  for (const where of [{ port }, { path }]) {
    const client = rawClient(where);
    client.send(get("/", "Connection: close\r\n"));
    await client.untilEnded();
    expect(client.received).toEndWith("ok");
  }
  const other = createHttpServer({ handler });
  expect(other.listen({ socketPath: path })).rejects.toMatchObject({ code: "EADDRINUSE" });
  await server.close();
  expect(existsSync(path)).toBe(false);

  const file = join(folder, "file");
  writeFileSync(file, "precious");
  expect(other.listen({ socketPath: file })).rejects.toMatchObject({ code: "EADDRINUSE" });
  expect(other.listen({ port })).resolves.toMatchObject({ port });
  await other.close();
});

test("server.listen() takes the place of a socket file whose owner died", async () => {
  const folder = await mkdtemp(join(tmpdir(), "http1-"));
  fixture.onEnd(() => rm(folder, { recursive: true }));
  const path = join(folder, "s");
  const owner = Bun.spawn([
    process.execPath,
    "-e",
    `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
  ]);
  await owner.exited;
  expect(existsSync(path)).toBe(true);
  const server = createHttpServer({ handler: () => reply("alive") });
  await server.listen({ socketPath: path });
  const client = rawClient({ path });
  client.send(get("/"));
  await client.untilReceived("alive");
  await server.close();
});
