import { afterEach, expect, test } from "bun:test";
import { createServer, Socket } from "node:net";
import { realSockets } from "../../edges/sockets.ts";
import { createHttpClient } from "./client.ts";
import { until } from "./fixture-peer.ts";
import type { ConnectionLimits } from "./types.ts";

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** Answers everything, and counts its connections. */
async function started() {
  const counts = { opened: 0, open: 0 };
  const server = createServer((socket) => {
    counts.opened++;
    counts.open++;
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    socket.on("error", () => {});
    socket.on("close", () => counts.open--);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => server.close());
  const client = createHttpClient({ idleTimeoutMs: 60_000 });
  cleanups.push(() => client.close());
  const port = (server.address() as { port: number }).port;
  const get = async (limits?: ConnectionLimits): Promise<void> => {
    const request = { method: "GET", target: "/", headers: [], limits };
    const response = await client.request({ host: "127.0.0.1", port }, request);
    await response.body.bytes(10);
  };
  return { counts, get };
}

const limits = { connectTimeoutMs: 1000, idleTimeoutMs: undefined, maxRequests: 0 };

test("a connection carries as many requests as it may, and then another one is opened", async () => {
  const { counts, get } = await started();
  for (let i = 0; i < 6; i++) await get({ ...limits, maxRequests: 2 });
  expect(counts.opened).toBe(3);
  for (let i = 0; i < 6; i++) await get(limits);
  expect(counts.opened).toBe(4);
});

test("an idle connection is kept as long as its last request asked", async () => {
  const { counts, get } = await started();
  await get();
  expect(counts.open).toBe(1);
  await get({ ...limits, idleTimeoutMs: 50 });
  expect(counts.opened).toBe(1);
  await until(() => counts.open === 0, "the idle connection is closed");
});

test("a request that asks for it gives up connecting sooner", async () => {
  // It never connects.
  const sockets = { ...realSockets, connect: () => new Socket() };
  const client = createHttpClient({ connectTimeoutMs: 60_000, sockets });
  cleanups.push(() => client.close());
  const request = { method: "GET", target: "/", headers: [], limits: { ...limits, connectTimeoutMs: 50 } };
  const error = await client.request({ host: "127.0.0.1", port: 9 }, request).catch((caught) => caught);
  expect(error).toMatchObject({ code: "ETIMEDOUT" });
});
