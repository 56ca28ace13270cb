// What every state store with a server of its own must do when that server dies, or stands still.

import { afterEach, describe, expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { seededRandom } from "../../src/edges/simulated.ts";
import { until } from "../../src/testing/index.ts";
import { etagOf, put, rejection, textAt } from "../contract/state.ts";
import type { Service } from "../services.ts";
import { signalTree } from "../signal-tree.ts";
import { answered } from "./answered.ts";
import { isDone } from "./is-done.ts";

export interface StateServer {
  server: Service;
  open(items?: Record<string, string>): Promise<StateStore>;
  stop(): Promise<void>;
}

export interface StateFaults {
  name: string;
  start(): Promise<StateServer>;
  /** Metadata with which a frozen server is noticed soon. */
  hasty: Record<string, string>;
  /** It keeps all in memory: what was written before a kill is gone, and nothing older comes back. */
  losesAll?: true;
  /** Etags count the versions of a key. */
  countsVersions?: true;
  /** The server keeps nothing over a restart: it is only frozen. */
  forgets?: true;
}

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 6);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const writers = 16;

interface Writer {
  key: string;
  /** The last number that was acknowledged. */
  acknowledged: number;
  /** The last number that was sent. */
  sent: number;
}

/** Runs the suite for one store. */
export function stateFaults({ name, start, hasty, countsVersions, forgets, losesAll }: StateFaults): void {
  describe(name, () => {
    let running: StateServer;
    let store: StateStore;
    afterEach(async () => {
      signalTree(running.server.pid, "CONT");
      await store.close();
      await running.stop();
    });
    const open = async (items: Record<string, string> = {}): Promise<void> => {
      running = await start();
      store = await answered(() => running.open(items));
    };

    test("answers in time when the server is frozen, and goes on when it is back", async () => {
      await open(hasty);
      await answered(() => store.set(put("key", "before")));
      signalTree(running.server.pid, "STOP");
      // Another key: what was sent meanwhile may be done at any time after the server goes on.
      const write = await rejection(store.set(put("other", "meanwhile")));
      expect(write).toBeInstanceOf(ServerUnavailable);
      expect((write as ServerUnavailable).outcome).toBe("unknown");
      const late = await rejection(store.get({ key: "key", metadata: {} }));
      expect(late).toBeInstanceOf(ServerUnavailable);
      expect((late as ServerUnavailable).outcome).toBe("undone");
      signalTree(running.server.pid, "CONT");
      await until(() => isDone(store.set(put("key", "after"))), "it is back", 20_000);
      expect(await answered(() => textAt(store, "key"))).toBe("after");
    }, 60_000);

    if (forgets) return;

    const keeps = losesAll
      ? "loses nothing but with the server, and brings nothing back,"
      : "loses no acknowledged write";
    test(`${keeps} in ${kills} times kill -9 of the server (MECHA_TEST_SEED=${seed})`, async () => {
      await open();
      const { writers, outcomes } = await killed(running.server, store, losesAll === true);
      for (const { key, acknowledged, sent } of writers) {
        const kept = Number(await answered(() => textAt(store, key)));
        expect(kept).toBeGreaterThanOrEqual(acknowledged);
        expect(kept).toBeLessThanOrEqual(sent);
        if (store.transact) expect(await answered(() => textAt(store, `${key}-twin`))).toBe(String(kept));
        // Nothing was sent twice: each number made one version at most.
        if (countsVersions)
          expect(Number(await answered(() => etagOf(store, key)))).toBeLessThanOrEqual(sent);
      }
      console.log(`seed ${seed}: ${kills} kills, ${JSON.stringify(outcomes)}`);
      expect(outcomes.unknown).toBeGreaterThan(0);
    }, 300_000);

    test("says that a write was not done when the server stays away, and goes on when it comes back", async () => {
      await open(hasty);
      await answered(() => store.set(put("key", "1")));
      await running.server.kill();
      await until(
        async () => ((await rejection(store.set(put("key", "2")))) as ServerUnavailable).outcome === "undone",
        "the loss was noticed",
        20_000,
      );
      const waiting = Array.from({ length: 50 }, () => store.get({ key: "key", metadata: {} }));
      for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe("rejected");
      await running.server.start();
      expect(await answered(() => textAt(store, "key"))).toBe(losesAll ? undefined : "1");
    }, 60_000);
  });
}

/** Kills the server again and again while many write, and looks after each time. */
async function killed(server: Service, store: StateStore, losesAll: boolean) {
  const random = seededRandom(seed);
  const all = Array.from({ length: writers }, (_, index) => ({ key: `w${index}`, acknowledged: 0, sent: 0 }));
  const outcomes = { done: 0, undone: 0, unknown: 0 };
  let isOver = false;
  const write = async (writer: Writer): Promise<void> => {
    while (!isOver) {
      const number = ++writer.sent;
      const pair = [writer.key, `${writer.key}-twin`].map((key) => ({
        kind: "upsert" as const,
        request: put(key, String(number)),
      }));
      try {
        await (store.transact?.(pair, {}) ?? store.set(put(writer.key, String(number))));
        outcomes.done++;
        writer.acknowledged = number;
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
        outcomes[(error as ServerUnavailable).outcome]++;
      }
    }
  };
  const running = Promise.all(all.map(write));
  try {
    for (let kill = 0; kill < kills; kill++) {
      const before = outcomes.done;
      await until(() => outcomes.done > before + 200, "writes go on", 60_000);
      await new Promise((done) => setTimeout(done, random.next() * 50));
      await server.kill();
      await server.start();
      for (const { key, acknowledged } of all) {
        const text = await answered(() => textAt(store, key));
        // A writer whose first write was cut off has nothing there, and was told nothing.
        if (!losesAll || text !== undefined) expect(Number(text ?? 0)).toBeGreaterThanOrEqual(acknowledged);
      }
    }
    // Each key is written once more, and has to be there at the end.
    const written = outcomes.done;
    await until(() => outcomes.done > written + 20 * writers, "writes go on", 60_000);
  } finally {
    // Writers whose store is closed would take the whole turn.
    isOver = true;
  }
  await running;
  return { writers: all, outcomes };
}
