import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type AddressInfo, connect, createServer } from "node:net";
import { Link } from "../../src/engine/store/postgresql/link.ts";
import { Cleanup } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";

const cleanup = new Cleanup();
let server: Service;

beforeAll(async () => {
  server = await startService("postgresql", { options: { fsync: "off" } });
}, 120_000);
afterEach(() => cleanup.run());
afterAll(() => server.stop(), 60_000);

/** Stands before the server; its first connection is cut after so many bytes of answers. */
async function cuttingAfter(bytes: number): Promise<number> {
  let isFirst = true;
  const proxy = createServer((client) => {
    const upstream = connect(server.port, "127.0.0.1");
    let left = isFirst ? bytes : Number.POSITIVE_INFINITY;
    isFirst = false;
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) client.end();
    });
  });
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
  cleanup.add(() => proxy.close());
  return (proxy.address() as AddressInfo).port;
}

test("a connection lost within a result leaves nothing of it in the next", async () => {
  const port = await cuttingAfter(20_000);
  const url = `postgresql://postgres:hush-hush@127.0.0.1:${port}/postgres`;
  let cuts = 0;
  const options = { schema: "public", max: 1, timeoutMs: 10_000, patienceMs: 20_000 };
  const link = new Link({ server: url, ...options, onClosed: () => cuts++ });
  cleanup.add(() => link.close());

  const rows = await link.read<{ n: number }>("SELECT n FROM generate_series(1, 3000) AS n");

  expect(cuts).toBe(1);
  expect(rows.length).toBe(3000);
  expect(rows.map((row) => row.n).slice(0, 3)).toEqual([1, 2, 3]);
}, 60_000);
