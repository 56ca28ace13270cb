import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { startMemcached, type TestMemcached } from "./memcached.ts";
import { put, rejection, stateContract, textAt } from "./state.ts";

let server: TestMemcached;
let other: TestMemcached;
beforeAll(async () => {
  server = await startMemcached({ I: "2m" });
  other = await startMemcached();
}, 120_000);
afterAll(async () => {
  await server.stop();
  await other.stop();
});

const openContract = async () => {
  await raw(server, "flush_all\r\n");
  const store = await server.open();
  return { store, close: () => store.close() };
};
stateContract("state.memcached", ["TTL"], openContract, {
  ...{ keyLengthMax: 250, refusesBlanks: true, hidesExpiry: true },
});

describe("state.memcached", () => {
  test("keeps values as Dapr does, each key on the server that Dapr would ask", async () => {
    const hosts = `127.0.0.1:${server.server.port}, 127.0.0.1:${other.server.port}`;
    const store = await server.open({ hosts });
    const keys = Array.from({ length: 20 }, (_, index) => `app||order-${index}`);
    for (const key of keys) await store.set(put(key, `value of ${key}`));
    const entries = (await store.bulkGet?.(keys.map((key) => ({ key, metadata: {} })))) ?? [];
    expect(entries.map(({ key }) => key).sort()).toEqual([...keys].sort());
    // The checksum that Go's crc32.ChecksumIEEE gives: 0xcbf43926 for "123456789", and that is even.
    await store.set(put("123456789", "x"));
    expect(await raw(server, "get 123456789\r\n")).toBe("VALUE 123456789 0 1\r\nx\r\nEND\r\n");
    expect(await raw(other, "get 123456789\r\n")).toBe("END\r\n");
    expect((await raw(other, `get ${keys.join(" ")}\r\n`)).match(/VALUE/g)?.length).toBeGreaterThan(3);
    await store.close();
  });

  test("keeps a key for long, and says what is too long", async () => {
    const store = await server.open();
    const days = 24 * 60 * 60;
    await store.set(put("month", "x", { ttlSeconds: 40 * days }));
    expect(await textAt(store, "month")).toBe("x");
    const ttl = Number(/t(\d+)/.exec(await raw(server, "mg month t\r\n"))?.[1]);
    expect(Math.abs(ttl - 40 * days)).toBeLessThan(60);
    expect(String(await rejection(store.set(put("ever", "x", { ttlSeconds: 30_000 * days }))))).toContain(
      "2038",
    );
    await store.close();
  });

  test("says what the server refuses, and goes on", async () => {
    const store = await other.open();
    const error = await rejection(
      store.set({ key: "large", value: new Uint8Array(1_100_000), metadata: {} }),
    );
    expect(String(error)).toContain('key "large" of 1100000 bytes: SERVER_ERROR object too large for cache');
    await store.set(put("small", "x"));
    expect(await textAt(store, "small")).toBe("x");
    await store.close();
  });

  test.each([
    [{ hosts: "" }, "needs metadata field hosts"],
    [{ hosts: "," }, "needs metadata field hosts"],
    [{ hosts: "localhost" }, 'hosts: "localhost" is not host:port'],
    [{ maxIdleConnections: "0" }, "maxIdleConnections"],
    [{ timeout: "soon" }, "timeout"],
  ])("names what is wrong in %j", async (items, message) => {
    const opened = (async () => server.open(items))();
    expect(String(await rejection(opened))).toContain(message);
  });
});

/** One command behind the component's back. */
function raw({ server: { port } }: TestMemcached, command: string): Promise<string> {
  return new Promise((done, fail) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(command));
    socket.on("error", fail);
    socket.on("data", (bytes) => {
      text += bytes;
      if (!/(^|\r\n)(END|OK|HD .*)\r\n$/.test(text)) return;
      socket.destroy();
      done(text);
    });
  });
}
