// What every state store with a server of its own must do on a network that fails (reliability.md §4.6).

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { until } from "../../src/testing/index.ts";
import { put, rejection, textAt } from "../contract/state.ts";
import type { Service } from "../services.ts";
import { answered } from "./answered.ts";
import { backMs } from "./back-within.ts";
import { isDone } from "./is-done.ts";
import { openSockets } from "./open-sockets.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface NetworkedState {
  name: string;
  start(): Promise<{
    server: Service;
    /** A store that reaches the server by this port, with timeouts of about a second or of so many. */
    open(port: number, seconds?: number): Promise<StateStore>;
    stop(): Promise<void>;
  }>;
  /** What it is called where it holds its connection for longer than a test wants to wait. */
  cycles?: number;
}

const writers = 8;
const healMs = 10_000;

/** Runs the suite for one store. */
export function networkedState({ name, start, cycles = 200 }: NetworkedState): void {
  describe(`${name} on a bad network`, () => {
    let running: Awaited<ReturnType<NetworkedState["start"]>>;
    let proxy: TcpProxy;
    let store: StateStore;
    beforeAll(async () => {
      running = await start();
    }, 120_000);
    beforeEach(async () => {
      proxy = await TcpProxy.before(running.server.port);
      store = await answered(() => running.open(proxy.port));
    });
    afterEach(async () => {
      proxy.set({});
      await store.close();
      await proxy.close();
    });
    afterAll(() => running.stop(), 60_000);

    test("latency of 100 ms ± 50 ms: no errors, in order", async () => {
      await store.close();
      store = await answered(() => running.open(proxy.port, 20));
      proxy.set({ latency: { ms: 100, jitterMs: 50 } });
      for (let number = 0; number < 3; number++) await store.set(put("late", String(number)));
      const many = Array.from({ length: 50 }, (_, index) => store.set(put(`late-${index}`, String(index))));
      await Promise.all(many);
      expect(await textAt(store, "late")).toBe("2");
      expect(await textAt(store, "late-49")).toBe("49");
    }, 60_000);

    test("pieces of 1 to 8 bytes: every byte as it was", async () => {
      await store.close();
      store = await answered(() => running.open(proxy.port, 20));
      proxy.set({ slicer: { bytesMax: 8 } });
      const value = Uint8Array.from({ length: 10_000 }, (_, index) => (index * 31) % 256);
      await store.set({ key: "sliced", value: jsonBytes(value), metadata: {} });
      const entry = await store.get({ key: "sliced", metadata: {} });
      expect(Buffer.from(entry?.value ?? []).equals(Buffer.from(jsonBytes(value)))).toBe(true);
    }, 60_000);

    test("8 KB a second: whole or not at all", async () => {
      await answered(() => store.set(put("slow", "before")));
      proxy.set({ bandwidth: { bytesPerSecond: 8_192 } });
      const large = "x".repeat(4_000);
      const error = await store.set(put("slow", large)).catch((e) => e);
      if (error !== undefined) expect(error).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      const text = await answered(() => textAt(store, "slow"));
      expect([large, "before"]).toContain(text as string);
      if (error === undefined) expect(text).toBe(large);
    }, 60_000);

    test("resets again and again: no acknowledged write is lost, errors are typed", async () => {
      const stopped = await writeThrough(store, async () => {
        for (let reset = 0; reset < 10; reset++) {
          await new Promise((done) => setTimeout(done, 150));
          proxy.reset();
        }
      });
      for (const { key, acknowledged, sent } of stopped.writers) {
        const kept = Number(await answered(() => textAt(store, key)));
        expect(kept).toBeGreaterThanOrEqual(acknowledged);
        expect(kept).toBeLessThanOrEqual(sent);
      }
      expect(stopped.done).toBeGreaterThan(0);
    }, 60_000);

    test("a black hole: typed errors in time, and it goes on when it is healed", async () => {
      await answered(() => store.set(put("hole", "1")));
      proxy.set({ blackHole: true });
      const calls = Array.from({ length: 100 }, (_, index) => store.set(put(`hole-${index}`, "x")));
      for (const result of await Promise.allSettled(calls)) {
        expect(result.status).toBe("rejected");
        expect((result as PromiseRejectedResult).reason).toBeInstanceOf(ServerUnavailable);
      }
      const read = await rejection(store.get({ key: "hole", metadata: {} }));
      expect(read).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      const healedMs = performance.now();
      await until(() => isDone(store.set(put("hole", "2"))), "it is back", backMs);
      console.log(`${name}: back ${Math.round(performance.now() - healedMs)} ms after a black hole`);
      expect(await answered(() => textAt(store, "hole"))).toBe("2");
    }, 60_000);

    test("half-open connections: noticed in time", async () => {
      await answered(() => store.set(put("half", "1")));
      proxy.halfOpen();
      const error = await store.set(put("half", "2")).catch((e) => e);
      if (error !== undefined) expect(error).toBeInstanceOf(ServerUnavailable);
      await until(() => isDone(store.set(put("half", "3"))), "it is back", healMs);
      expect(await answered(() => textAt(store, "half"))).toBe("3");
    }, 60_000);

    test("a server that is away and comes back: back without a restart", async () => {
      await answered(() => store.set(put("away", "1")));
      await proxy.down();
      expect(await rejection(store.set(put("away", "2")))).toBeInstanceOf(ServerUnavailable);
      await new Promise((done) => setTimeout(done, 1_000));
      await proxy.up();
      const upMs = performance.now();
      await until(() => isDone(store.set(put("away", "3"))), "it is back", backMs);
      console.log(`${name}: back ${Math.round(performance.now() - upMs)} ms after the server`);
      expect(await answered(() => textAt(store, "away"))).toBe("3");
    }, 60_000);

    test(`${cycles} times opened, cut and closed: no socket is left`, async () => {
      const before = openSockets();
      for (let cycle = 0; cycle < cycles; cycle++) {
        const opened = await answered(() => running.open(proxy.port));
        await opened.set(put("cycle", String(cycle))).catch(() => {});
        if (cycle % 2 === 0) proxy.reset();
        await opened.close();
      }
      await until(() => isDone(store.set(put("cycle", "end"))), "it is back", healMs);
      await until(() => openSockets() <= before + 2, "the sockets are closed", healMs);
    }, 120_000);
  });
}

/** JSON that keeps the bytes, as stores with a JSON column want it. */
function jsonBytes(bytes: Uint8Array): Uint8Array {
  return Buffer.from(JSON.stringify(Buffer.from(bytes).toString("base64")));
}

async function writeThrough(store: StateStore, meanwhile: () => Promise<void>) {
  const all = Array.from({ length: writers }, (_, index) => ({ key: `w${index}`, acknowledged: 0, sent: 0 }));
  let isOver = false;
  let done = 0;
  const write = async (writer: (typeof all)[number]): Promise<void> => {
    while (!isOver) {
      const number = ++writer.sent;
      try {
        await store.set(put(writer.key, String(number)));
        writer.acknowledged = number;
        done++;
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
        await new Promise((next) => setTimeout(next, 5));
      }
    }
  };
  const running = Promise.all(all.map(write));
  await meanwhile();
  isOver = true;
  await running;
  return { writers: all, done };
}
