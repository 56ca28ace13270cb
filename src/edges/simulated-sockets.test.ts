import { afterEach, describe, expect, test } from "bun:test";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "./simulated.ts";
import { SimulatedSockets } from "./simulated-sockets.ts";
import { realSockets, type SocketAddress, type SocketListener, type Sockets } from "./sockets.ts";

const listeners: SocketListener[] = [];
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
});

async function pair(
  sockets: Sockets,
  address: SocketAddress = { host: "127.0.0.1", port: 0 },
): Promise<{ client: Socket; server: Socket; bound: SocketAddress }> {
  const accepted = Promise.withResolvers<Socket>();
  const listener = await sockets.listen(address, { allowHalfOpen: true, onConnection: accepted.resolve });
  listeners.push(listener);
  const client = sockets.connect(listener.address, { allowHalfOpen: true });
  await new Promise((resolve, reject) => client.once("connect", resolve).once("error", reject));
  return { client, server: await accepted.promise, bound: listener.address };
}

function textOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.once("end", () => resolve(Buffer.concat(chunks).toString()));
    socket.once("error", reject);
  });
}

const errorOf = (socket: Socket): Promise<NodeJS.ErrnoException> =>
  new Promise((resolve) => socket.once("error", resolve));

// What the simulated sockets promise is what the system's do: one suite for both.
for (const [name, open] of Object.entries({
  realSockets: () => realSockets,
  SimulatedSockets: () => new SimulatedSockets(new SimulatedClock()),
})) {
  describe(name, () => {
    test("carries bytes both ways, half-closed as well", async () => {
      const { client, server, bound } = await pair(open());
      expect([client.remoteAddress, client.remotePort]).toEqual([
        "127.0.0.1",
        "port" in bound ? bound.port : 0,
      ]);
      const received = textOf(server);
      client.write("one ");
      client.end("two");
      expect(await received).toBe("one two");
      const answer = textOf(client);
      server.end("three");
      expect(await answer).toBe("three");
    });

    test("holds a writer back until its reader reads", async () => {
      const { client, server } = await pair(open());
      server.pause();
      const chunk = Buffer.alloc(64 * 1024, "x");
      let written = 0;
      while (client.writableLength === 0) {
        client.write(chunk);
        written += chunk.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.end();
      const received = textOf(server);
      server.resume();
      expect((await received).length).toBe(written);
      server.end();
      client.resume();
    });

    test("refuses where nobody listens, and an address that is taken", async () => {
      const sockets = open();
      const { bound, client, server } = await pair(sockets);
      expect(await sockets.listen(bound, { onConnection() {} }).catch((error) => error.code)).toBe(
        "EADDRINUSE",
      );
      for (const socket of [client, server]) socket.destroy();
      await listeners.pop()?.close();
      expect((await errorOf(sockets.connect(bound))).code).toBe("ECONNREFUSED");
    });

    test("listens on a Unix socket", async () => {
      const socketPath = join(tmpdir(), `mecha-${process.pid}-${name}.socket`);
      const sockets = open();
      const { client, server } = await pair(sockets, { socketPath });
      const received = textOf(server);
      client.end("hello");
      expect(await received).toBe("hello");
      server.end();
      await listeners.pop()?.close();
      expect((await errorOf(sockets.connect({ socketPath }))).code).toBe("ENOENT");
    });

    test("tells a writer that its peer has gone", async () => {
      const { client, server } = await pair(open());
      server.destroy();
      const failed = errorOf(client);
      client.resume();
      await new Promise((resolve) => client.once("end", resolve));
      client.write("anybody?");
      await new Promise((resolve) => setImmediate(resolve));
      client.write("hello?");
      expect(["ECONNRESET", "EPIPE"]).toContain((await failed).code ?? "");
    });
  });
}

describe("SimulatedSockets", () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test("delays by its latency on the simulated clock, in order also when it shrinks", async () => {
    const clock = new SimulatedClock();
    const sockets = new SimulatedSockets(clock);
    const { client, server } = await pair(sockets);
    let received = "";
    server.on("data", (chunk: Buffer) => (received += chunk.toString()));
    sockets.latencyMs = 50;
    client.write("slow ");
    await turn();
    sockets.latencyMs = 10;
    client.write("fast");
    clock.advance(49);
    await turn();
    expect(received).toBe("");
    clock.advance(1);
    await turn();
    expect(received).toBe("slow fast");
  });

  test("cut() breaks the connections of one address, losing what is under way", async () => {
    const sockets = new SimulatedSockets(new SimulatedClock());
    const first = await pair(sockets);
    const second = await pair(sockets);
    const errors = [errorOf(first.client), errorOf(first.server)];
    let received = "";
    first.server.on("data", (chunk: Buffer) => (received += chunk.toString()));
    first.client.write("lost");
    sockets.cut(first.bound);
    expect((await Promise.all(errors)).map((error) => error.code)).toEqual(["ECONNRESET", "ECONNRESET"]);
    await turn();
    expect(received).toBe("");
    expect(sockets.connectionCount).toBe(1);
    expect(second.client.destroyed).toBe(false);
  });

  test("counts a socket's timeout on the simulated clock", async () => {
    const clock = new SimulatedClock();
    const { client } = await pair(new SimulatedSockets(clock));
    let isTimedOut = false;
    client.setTimeout(100, () => (isTimedOut = true));
    clock.advance(99);
    client.write("x");
    clock.advance(99);
    expect(isTimedOut).toBe(false);
    clock.advance(1);
    expect(isTimedOut).toBe(true);
  });
});
