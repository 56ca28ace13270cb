// What every lock store with a server of its own must do when that server dies or stands still, or the network fails.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { LockStore } from "../../src/component/lock-store.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { until } from "../../src/testing/index.ts";
import { rejection } from "../contract/state.ts";
import type { Service } from "../services.ts";
import { signalTree } from "../signal-tree.ts";
import { answered } from "./answered.ts";
import { isDone } from "./is-done.ts";
import { openSockets } from "./open-sockets.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export interface LockFaults {
  name: string;
  start(): Promise<{
    server: Service;
    /** A store that reaches the server by this port, with timeouts of about a second. */
    open(port: number): Promise<LockStore>;
    stop(): Promise<void>;
  }>;
}

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 4);
const clients = 6;
const healMs = 20_000;

export function lockFaults({ name, start }: LockFaults): void {
  describe(`${name} under faults`, () => {
    let running: Awaited<ReturnType<LockFaults["start"]>>;
    let proxy: TcpProxy;
    let locks: LockStore;
    let sequence = 0;
    beforeAll(async () => {
      running = await start();
    }, 300_000);
    beforeEach(async () => {
      proxy = await TcpProxy.before(running.server.port);
      locks = await answered(() => running.open(proxy.port));
    });
    afterEach(async () => {
      signalTree(running.server.pid, "CONT");
      proxy.set({});
      await locks.close();
      await proxy.close();
    });
    afterAll(() => running.stop(), 60_000);
    const fresh = () => `resource ${sequence++}`;
    const isBack = () => until(() => isDone(locks.tryLock(fresh(), "me", 30)), "it is back", healMs);

    test(`kill -9 of the server, ${kills} times: never two owners, tokens grow, nothing taken is lost`, async () => {
      const turns = takeTurns(locks);
      for (let kill = 0; kill < kills; kill++) {
        const before = turns.taken;
        await until(() => turns.taken > before + 20, "turns go on", healMs);
        const kept = await answered(async () => {
          const resource = fresh();
          expect(await locks.tryLock(resource, "me", 300)).toBePositive();
          return resource;
        });
        await running.server.kill();
        await running.server.start();
        expect(await answered(() => locks.tryLock(kept, "you", 300))).toBeUndefined();
      }
      await turns.end();
      expect(turns.taken).toBeGreaterThan(kills * 20);
    }, 120_000);

    test("a frozen server: typed errors in time, and it goes on", async () => {
      await answered(() => locks.tryLock(fresh(), "me", 30));
      signalTree(running.server.pid, "STOP");
      const freeing = await rejection(locks.unlock("x", "me"));
      expect(freeing).toBeInstanceOf(ServerUnavailable);
      expect((freeing as ServerUnavailable).outcome).toBe("unknown");
      expect(await rejection(locks.tryLock(fresh(), "me", 30))).toBeInstanceOf(ServerUnavailable);
      signalTree(running.server.pid, "CONT");
      await isBack();
    }, 60_000);

    test("latency and pieces of 1 to 8 bytes: no errors", async () => {
      proxy.set({ latency: { ms: 50, jitterMs: 25 }, slicer: { bytesMax: 8 } });
      await answered(async () => {
        const resource = fresh();
        expect(await locks.tryLock(resource, "me", 30)).toBePositive();
        expect(await locks.unlock(resource, "me")).toBe("success");
      });
    }, 60_000);

    test("resets again and again: never two owners, typed errors, and it goes on", async () => {
      const turns = takeTurns(locks);
      for (let reset = 0; reset < 10; reset++) {
        await new Promise((done) => setTimeout(done, 100));
        proxy.reset();
      }
      await isBack();
      await turns.end();
      expect(turns.taken).toBeGreaterThan(0);
    }, 60_000);

    test("a black hole, half-open connections, a server that is away: typed errors, and it goes on", async () => {
      proxy.set({ blackHole: true });
      expect(await rejection(locks.tryLock(fresh(), "me", 30))).toBeInstanceOf(ServerUnavailable);
      proxy.set({});
      await isBack();
      proxy.halfOpen();
      await isBack();
      await proxy.down();
      expect(await rejection(locks.tryLock(fresh(), "me", 30))).toBeInstanceOf(ServerUnavailable);
      await proxy.up();
      await isBack();
    }, 60_000);

    test("200 times opened, cut and closed: no socket is left", async () => {
      const before = openSockets();
      for (let cycle = 0; cycle < 200; cycle++) {
        const opened = await answered(() => running.open(proxy.port));
        await opened.tryLock(fresh(), "me", 1).catch(() => {});
        if (cycle % 2 === 0) proxy.reset();
        await opened.close();
      }
      await until(() => openSockets() <= before + 2, "the sockets are closed", healMs);
    }, 120_000);
  });
}

/** Clients that take turns at one lock, and look that nobody else has it. */
function takeTurns(locks: LockStore) {
  const turns = { taken: 0, end };
  let isOver = false;
  let holder: string | undefined;
  let last = 0;
  const turn = async (owner: string): Promise<void> => {
    const token = await locks.tryLock("turns", owner, 2);
    if (token === undefined) return;
    expect(holder).toBeUndefined();
    expect(token).toBeGreaterThan(last);
    last = token;
    holder = owner;
    await new Promise((done) => setTimeout(done, 1));
    holder = undefined;
    turns.taken++;
    await locks.unlock("turns", owner);
  };
  const take = async (owner: string): Promise<void> => {
    while (!isOver) {
      try {
        await turn(owner);
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
      }
      await new Promise((next) => setTimeout(next, 2));
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, index) => take(`owner ${index}`)));
  async function end(): Promise<void> {
    isOver = true;
    await all;
  }
  return turns;
}
