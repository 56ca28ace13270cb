// What every component that asks a server must do on a network that fails (reliability.md §4.6).
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { withinTime } from "../../src/component/within-time.ts";
import { realClock } from "../../src/edges/clock.ts";
import { until } from "../../src/testing/index.ts";
import { rejection } from "../contract/state.ts";
import { answered } from "./answered.ts";
import { backMs } from "./back-within.ts";
import { isDone } from "./is-done.ts";
import { openSockets } from "./open-sockets.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface Caller {
  /** Sends the text to the server, and gives what the server then has of it. */
  call(text: string): Promise<string>;
  close(): Promise<void>;
}

export interface NetworkedCalls {
  name: string;
  start(): Promise<{
    port: number;
    /** Where the proxy has to stand, when the server tells its clients. */
    proxyPort?: number;
    /** A component that reaches the server by this port, with timeouts of about a second. */
    open(port: number): Promise<Caller>;
    stop(): Promise<void>;
  }>;
  /** Opened, cut and closed so often. */
  cycles?: number;
}

const healMs = 20_000;
/** How soon 20 calls at once fail, on a machine with much else to do. */
const answerMs = 3 * backMs;

/** Runs the suite for one component. */
export function networkedCalls({ name, start, cycles = 200 }: NetworkedCalls): void {
  describe(`${name} on a bad network`, () => {
    let running: Awaited<ReturnType<NetworkedCalls["start"]>>;
    let proxy: TcpProxy;
    let caller: Caller;
    beforeAll(async () => {
      running = await start();
    }, 240_000);
    beforeEach(async () => {
      proxy = await TcpProxy.before(running.port, { port: running.proxyPort });
      caller = await answered(() => running.open(proxy.port));
    });
    afterEach(async () => {
      proxy.set({});
      await caller.close();
      await proxy.close();
    });
    afterAll(() => running?.stop(), 60_000);
    const back = () => until(() => isDone(caller.call("back")), "it is back", backMs);

    test("latency, then pieces of 1 to 64 bytes: every byte as it was", async () => {
      proxy.set({ latency: { ms: 30, jitterMs: 15 } });
      for (let round = 0; round < 4; round++) {
        const texts = Array.from({ length: 5 }, (_, index) => `text ${round}.${index}`);
        expect(await Promise.all(texts.map((text) => answered(() => caller.call(text))))).toEqual(texts);
      }
      proxy.set({ slicer: { bytesMax: 64 } });
      const large = "ü!".repeat(2_000);
      expect((await answered(() => caller.call(large))) === large).toBe(true);
    }, 60_000);

    test("8 KB a second: the whole text, or a typed error", async () => {
      expect(await answered(() => caller.call("before"))).toBe("before");
      proxy.set({ bandwidth: { bytesPerSecond: 8_192 } });
      const text = "slow".repeat(500);
      const result = await caller.call(text).catch((reason: unknown) => reason);
      if (result !== text) expect(result).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      await back();
    }, 60_000);

    test("a black hole: typed errors in time, and it goes on when it is healed", async () => {
      expect(await answered(() => caller.call("before"))).toBe("before");
      proxy.set({ blackHole: true });
      const calls = Array.from({ length: 20 }, (_, index) => rejection(caller.call(`hole ${index}`)));
      const errors = await withinTime(realClock, answerMs, Promise.all(calls));
      for (const error of errors) expect(error).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      await back();
    }, 60_000);

    test("half-open connections and resets: noticed, with typed errors", async () => {
      expect(await answered(() => caller.call("before"))).toBe("before");
      proxy.halfOpen();
      const error = await caller.call("half").catch((reason: unknown) => reason);
      if (error !== "half") expect(error).toBeInstanceOf(ServerUnavailable);
      await back();
      for (let reset = 0; reset < 5; reset++) {
        const calls = Array.from({ length: 8 }, (_, index) =>
          caller.call(`reset ${index}`).catch((reason: unknown) => reason),
        );
        proxy.reset();
        for (const result of await Promise.all(calls))
          if (typeof result !== "string") expect(result).toBeInstanceOf(ServerUnavailable);
      }
      await back();
    }, 60_000);

    test("a server that is away and comes back: back without a restart", async () => {
      expect(await answered(() => caller.call("before"))).toBe("before");
      await proxy.down();
      expect(await rejection(caller.call("away"))).toBeInstanceOf(ServerUnavailable);
      await proxy.up();
      await back();
    }, 60_000);

    test(`${cycles} times opened, cut and closed: no socket is left`, async () => {
      await back();
      const before = openSockets();
      for (let cycle = 0; cycle < cycles; cycle++) {
        const opened = await answered(() => running.open(proxy.port));
        await opened.call(`cycle ${cycle}`).catch(() => {});
        if (cycle % 2 === 0) proxy.reset();
        await opened.close();
      }
      await back();
      await until(() => openSockets() <= before + 2, "the sockets are closed", healMs);
    }, 240_000);
  });
}
