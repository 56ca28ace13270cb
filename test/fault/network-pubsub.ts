// What every pub/sub component with a broker of its own must do on a network that fails (reliability.md §4.6).

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { until } from "../../src/testing/index.ts";
import { subscription } from "../contract/pubsub.ts";
import type { Service } from "../services.ts";
import { answered } from "./answered.ts";
import { backMs } from "./back-within.ts";
import { isDone } from "./is-done.ts";
import { openSockets } from "./open-sockets.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface NetworkedPubSub {
  name: string;
  start(): Promise<{
    server: Service;
    /** What the proxy stands before, when it is not the server's own port. */
    port?: number;
    /** The port that the proxy has to have, for brokers that announce their address. */
    proxyPort?: number;
    /** A component that reaches the broker by this port, with timeouts of about a second. */
    open(port: number): Promise<PubSub>;
    stop(): Promise<void>;
  }>;
  /** Opened, cut and closed so often; fewer where each takes long. */
  cycles?: number;
  /** Messages that are sent at once; fewer to a server that takes one after the other, given up ones too. */
  atOnce?: number;
}

const healMs = 30_000;
const publishers = 4;

/** Runs the suite for one component. */
export function networkedPubSub({ name, start, cycles = 200, atOnce = 50 }: NetworkedPubSub): void {
  describe(`${name} on a bad network`, () => {
    let running: Awaited<ReturnType<NetworkedPubSub["start"]>>;
    let proxy: TcpProxy;
    let pubsub: PubSub;
    let number = 0;
    beforeAll(async () => {
      running = await start();
    }, 240_000);
    beforeEach(async () => {
      const { port = running.server.port, proxyPort } = running;
      proxy = await TcpProxy.before(port, { port: proxyPort });
      pubsub = await answered(() => running.open(proxy.port));
    }, 60_000);
    afterEach(async () => {
      proxy.set({});
      await pubsub.close();
      await proxy.close();
    }, 60_000);
    afterAll(() => running.stop(), 60_000);

    /** A topic and group of the test's own, and what was delivered of it. */
    const listen = async () => {
      const topic = `topic-${++number}`;
      const seen: Buffer[] = [];
      const request = subscription({ topic, consumerGroup: `group-${number}` });
      await answered(() => pubsub.subscribe(request, async ({ data }) => void seen.push(Buffer.from(data))));
      const has = (data: string | Uint8Array) => seen.some((one) => one.equals(Buffer.from(data)));
      const send = (data: string | Uint8Array) =>
        pubsub.publish({ topic, data: Buffer.from(data), contentType: "", metadata: {} });
      /** Sent again when a busy broker took longer than the component waits: that is an error of its type, and in time. */
      const arrives = async (data: string | Uint8Array) => {
        const isSent = async () => {
          const error = await send(data).catch((e) => e);
          if (error !== undefined) expect(error).toBeInstanceOf(ServerUnavailable);
          return error === undefined;
        };
        await until(isSent, "it is acknowledged", healMs);
        await until(() => has(data), "it is there", healMs);
      };
      return { seen, has, send, arrives };
    };

    test("latency of 100 ms ± 50 ms: all arrive", async () => {
      const { arrives } = await listen();
      proxy.set({ latency: { ms: 100, jitterMs: 50 } });
      for (let sent = 0; sent < 50; sent += atOnce)
        await Promise.all(Array.from({ length: atOnce }, (_, index) => arrives(`late ${sent + index}`)));
    }, 60_000);

    test("pieces of 1 to 8 bytes: every byte as it was", async () => {
      const { arrives } = await listen();
      proxy.set({ slicer: { bytesMax: 8 } });
      await arrives(Uint8Array.from({ length: 10_000 }, (_, index) => (index * 31) % 256));
    }, 60_000);

    test("8 KB a second: what is acknowledged arrives whole", async () => {
      const { seen, has, send } = await listen();
      proxy.set({ bandwidth: { bytesPerSecond: 8_192 } });
      const data = "x".repeat(4_000);
      const error = await send(data).catch((e) => e);
      if (error !== undefined) expect(error).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      await until(() => isDone(send("after")), "it is back", healMs);
      await until(() => has("after"), "it is there", healMs);
      if (error === undefined) await until(() => has(data), "it is there", healMs);
      for (const one of seen) expect([data, "after"]).toContain(one.toString());
    }, 120_000);

    test("resets again and again: nothing acknowledged is lost, errors are typed", async () => {
      const { has, send } = await listen();
      const acknowledged: string[] = [];
      let isOver = false;
      const publish = async (publisher: number): Promise<void> => {
        for (let index = 0; !isOver; index++) {
          const text = `${publisher}:${index}`;
          try {
            await send(text);
            acknowledged.push(text);
          } catch (error) {
            expect(error).toBeInstanceOf(ServerUnavailable);
          }
          await new Promise((next) => setTimeout(next, 2));
        }
      };
      const publishing = Promise.all(Array.from({ length: publishers }, (_, index) => publish(index)));
      for (let reset = 0; reset < 8; reset++) {
        const before = acknowledged.length;
        await until(() => acknowledged.length > before + 20, "publishing goes on", healMs);
        proxy.reset();
      }
      isOver = true;
      await publishing;
      const missing = () => acknowledged.filter((text) => !has(text));
      await until(() => missing().length === 0, "all are there", 60_000).catch(() => undefined);
      expect(missing()).toEqual([]);
      console.log(`${name}: ${acknowledged.length} acknowledged over 8 resets, all delivered`);
    }, 240_000);

    test("a black hole: typed errors in time, and both ends go on when it is healed", async () => {
      const { has, send, arrives } = await listen();
      await arrives("before");
      proxy.set({ blackHole: true });
      const calls = Array.from({ length: 100 }, (_, index) => send(`hole ${index}`));
      for (const result of await Promise.allSettled(calls)) {
        expect(result.status).toBe("rejected");
        expect((result as PromiseRejectedResult).reason).toBeInstanceOf(ServerUnavailable);
      }
      proxy.set({});
      const healedMs = performance.now();
      await until(() => isDone(send("after")), "it is back", backMs);
      console.log(`${name}: back ${Math.round(performance.now() - healedMs)} ms after a black hole`);
      await until(() => has("after"), "it is there", healMs);
    }, 120_000);

    test("half-open connections: both ends notice", async () => {
      const { arrives } = await listen();
      await arrives("before");
      proxy.halfOpen();
      await arrives("after");
    }, 120_000);

    test("a broker that is away and comes back: back without a restart", async () => {
      const { has, send } = await listen();
      await proxy.down();
      expect(await send("away").catch((e) => e)).toBeInstanceOf(ServerUnavailable);
      await new Promise((done) => setTimeout(done, 1_000));
      await proxy.up();
      const upMs = performance.now();
      await until(() => isDone(send("after")), "it is back", backMs);
      console.log(`${name}: back ${Math.round(performance.now() - upMs)} ms after the broker`);
      await until(() => has("after"), "it is there", healMs);
    }, 120_000);

    test(`${cycles} times opened, cut and closed: no socket is left`, async () => {
      const { has, send, arrives } = await listen();
      // Some connect with their first message.
      await arrives("begin");
      const before = openSockets();
      for (let cycle = 0; cycle < cycles; cycle++) {
        const opened = await answered(() => running.open(proxy.port));
        const message = { topic: "cycles", data: Buffer.from("x"), contentType: "", metadata: {} };
        await opened.publish(message).catch(() => {});
        if (cycle % 2 === 0) proxy.reset();
        await opened.close();
      }
      await until(() => isDone(send("end")), "it is back", healMs);
      await until(() => has("end"), "it is there", healMs);
      await until(() => openSockets() <= before + 2, "the sockets are closed", healMs);
    }, 240_000);
  });
}
