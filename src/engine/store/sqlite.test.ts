import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../../edges/simulated.ts";
import { openSqliteStore, type SqliteStoreOptions } from "./sqlite.ts";
import type { Delivery, Store, TopicStats } from "./store.ts";

let folder = "";
let clock: SimulatedClock;
const opened: Store[] = [];

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "mecha-sqlite-")), "data");
  clock = new SimulatedClock();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
  rmSync(join(folder, ".."), { recursive: true, force: true });
});

async function open(options: Partial<SqliteStoreOptions> = {}): Promise<Store> {
  const store = await openSqliteStore({ folder, clock, ...options });
  opened.push(store);
  return store;
}

const byte = new Uint8Array(1);

async function publish(store: Store, count: number, size = 100): Promise<void> {
  const message = { data: new Uint8Array(size) };
  const appends = Array.from({ length: count }, () =>
    store.commit([{ kind: "append", topic: "t", message }]),
  );
  await Promise.all(appends);
}

function take(store: Store, group: string, max = 1000): Promise<Delivery[]> {
  return store.claim({ topic: "t", group, owner: "me", max, leaseMs: 1e9, waitMs: 0 });
}

async function ack(store: Store, deliveries: readonly Delivery[]): Promise<void> {
  await store.commit(deliveries.map((delivery) => ({ kind: "ack", delivery })));
}

async function topic(store: Store): Promise<TopicStats | undefined> {
  return (await store.topicStats("t"))[0];
}

/** Lets the sweeper run until what it should remove is gone. */
async function swept(isDone: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 5000;
  while (!(await isDone())) {
    if (performance.now() > giveUpAt) throw new Error("the sweeper did not remove what it should");
    clock.advance(60_000);
    await Bun.sleep(1);
  }
}

describe("openSqliteStore()", () => {
  test("keeps its files to the user alone", async () => {
    const store = await open();
    store.watch("keys:s", () => undefined);
    await store.commit([{ kind: "put", space: "s", key: "k", value: byte }]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true });
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      const mode = statSync(join(file.parentPath, file.name)).mode & 0o777;
      expect(mode).toBe(file.isDirectory() ? 0o700 : 0o600);
    }
  });

  test("leaves one file when it is closed", async () => {
    const store = await open();
    store.watch("keys:s", () => undefined);
    await store.commit([{ kind: "put", space: "s", key: "k", value: byte }]);
    await store.close();
    expect(readdirSync(folder).filter((name) => name !== "feeds")).toEqual(["mecha.db"]);
    expect(readdirSync(join(folder, "feeds"))).toEqual([]);
  });

  test("refuses the file of a newer mecha", async () => {
    await (await open()).close();
    const db = new Database(join(folder, "mecha.db"));
    db.run("PRAGMA user_version = 99");
    db.close();
    await expect(open()).rejects.toThrow("written by a newer mecha (schema 99");
  });

  test("says which file is not a store", async () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "mecha.db"), "x".repeat(10_000));
    await expect(open()).rejects.toThrow(`${join(folder, "mecha.db")} is not a store`);
  });

  test("removes expired keys and leases in the background", async () => {
    const store = await open();
    const expiresAtMs = clock.now() + 10;
    const keys = Array.from({ length: 1200 }, (_, n) => ({ key: `k${n}`, value: byte, expiresAtMs }));
    await store.commit(keys.map((entry) => ({ kind: "put", space: "s", ...entry })));
    await store.acquireLease("l", "me", 10);
    await swept(async () => (await store.stats()).keys === 0);
    const db = new Database(join(folder, "mecha.db"), { readonly: true });
    expect(db.query("SELECT count(*) FROM leases").values()).toEqual([[0]]);
    db.close();
  });

  test("removes messages that every group has handled", async () => {
    const store = await open();
    for (const group of ["g", "h"]) await store.ensureGroup("t", group, "earliest");
    await publish(store, 600);
    await ack(store, await take(store, "g"));
    clock.advance(60_000);
    expect((await topic(store))?.messages).toBe(600);
    await ack(store, await take(store, "h"));
    await swept(async () => (await topic(store))?.messages === 0);
    expect(await topic(store)).toMatchObject({ bytes: 0, dropped: 0 });
  });

  test("one unhandled message does not keep the handled ones after it", async () => {
    const store = await open();
    await store.ensureGroup("t", "g", "earliest");
    await publish(store, 3000);
    const [stuck, ...others] = [
      ...(await take(store, "g")),
      ...(await take(store, "g")),
      ...(await take(store, "g")),
    ];
    await ack(store, others);
    await swept(async () => (await topic(store))?.messages === 1);
    await ack(store, [stuck as Delivery]);
    await swept(async () => (await topic(store))?.messages === 0);
  });

  test("removes messages that are too old, handled or not, and counts those dropped", async () => {
    const store = await open({ retention: { ageMs: 3600_000 } });
    await store.ensureGroup("t", "g", "earliest");
    await publish(store, 10);
    const [inFlight] = await take(store, "g", 1);
    await swept(async () => (await topic(store))?.messages === 0);
    expect(await topic(store)).toMatchObject({ dropped: 10, groups: [{ pending: 0, inFlight: 0 }] });
    await expect(ack(store, [inFlight as Delivery])).rejects.toMatchObject({ reason: "claim" });
    await publish(store, 1);
    expect(await take(store, "g")).toHaveLength(1);
  });

  test("keeps the work of workflows however old it is", async () => {
    const store = await open({ retention: { ageMs: 3600_000 } });
    const message = { data: byte };
    for (const topic of ["workflow:default:app", "activity:default:app", "t"])
      await store.commit([{ kind: "append", topic, message }]);
    await swept(async () => (await topic(store)) === undefined || (await topic(store))?.messages === 0);
    const kept = (await store.topicStats()).filter(({ messages }) => messages > 0);
    expect(kept.map(({ topic: name }) => name)).toEqual(["activity:default:app", "workflow:default:app"]);
  });

  test("removes the oldest messages of a topic that is too large", async () => {
    const store = await open({ retention: { bytes: 50_000 } });
    await publish(store, 100, 1000);
    await swept(async () => (await topic(store))?.messages === 50);
    await store.ensureGroup("t", "late", "earliest");
    expect(await take(store, "late")).toHaveLength(50);
    expect((await topic(store))?.dropped).toBe(0);
  });

  test("handled messages do not count against the size of a topic", async () => {
    const store = await open({ retention: { bytes: 50_000 } });
    await store.ensureGroup("t", "g", "earliest");
    await publish(store, 200, 1000);
    await ack(store, await take(store, "g", 160));
    await swept(async () => (await topic(store))?.messages === 40);
    expect(await topic(store)).toMatchObject({ dropped: 0, groups: [{ pending: 40 }] });
  });

  test("frees messages that waited for a dropped one with their order key", async () => {
    const store = await open({ retention: { ageMs: 3600_000 } });
    await store.ensureGroup("t", "g", "earliest");
    const append = () =>
      store.commit([{ kind: "append", topic: "t", message: { data: byte, orderKey: "k" } }]);
    await append();
    await take(store, "g");
    clock.advance(3000_000);
    await append();
    expect(await take(store, "g")).toEqual([]);
    await swept(async () => (await topic(store))?.messages === 1);
    expect(await take(store, "g")).toHaveLength(1);
  });

  test("forgets topics that nobody uses", async () => {
    const store = await open({ retention: { ageMs: 1000 } });
    await publish(store, 3);
    await swept(async () => (await store.topicStats()).length === 0);
    await publish(store, 1);
    expect((await topic(store))?.messages).toBe(1);
  });

  test("keeps the write-ahead log short", async () => {
    const store = await open();
    const value = new Uint8Array(20_000);
    for (let round = 0; round < 12; round++) {
      const puts = Array.from(
        { length: 400 },
        (_, n) => ({ kind: "put", space: "s", key: `${n}`, value }) as const,
      );
      await Promise.all(puts.map((put) => store.commit([put])));
    }
    // 96 MB were written; the log is emptied at 64 MiB.
    expect(statSync(join(folder, "mecha.db-wal")).size).toBeLessThan(80 * 1024 * 1024);
  });

  test("a listener that throws does not keep writes from settling", () => {
    // In a process of its own: the test runner takes every uncaught error for a failure.
    const program = `
      const { openSqliteStore } = await import(${JSON.stringify(join(import.meta.dir, "sqlite.ts"))});
      process.on("uncaughtException", (error) => console.log("uncaught", error.message));
      const store = await openSqliteStore({ folder: ${JSON.stringify(folder)} });
      store.watch("keys:s", () => { throw new Error("careless"); });
      store.watch("keys:s", () => console.log("heard"));
      await store.commit([{ kind: "put", space: "s", key: "k", value: new Uint8Array(1) }]);
      await store.commit([{ kind: "put", space: "s", key: "k", value: new Uint8Array(1) }]);
      await store.close();`;
    const output = Bun.spawnSync([process.execPath, "-e", program]).stdout.toString();
    expect(output).toContain("heard");
    expect(output).toContain("uncaught careless");
  });

  test("delivers a message to who waits in the transaction that appends it", async () => {
    const store = await open();
    await store.ensureGroup("t", "g", "earliest");
    const waiting = store.claim({
      topic: "t",
      group: "g",
      owner: "me",
      max: 9,
      leaseMs: 1e9,
      waitMs: 60_000,
    });
    await Bun.sleep(0);
    const [outcome] = await store.commit([{ kind: "append", topic: "t", message: { data: byte } }]);
    // Seen at once, without another turn of waiting: the claim was part of the same commit.
    expect(await topic(store)).toMatchObject({ groups: [{ inFlight: 1, pending: 0 }] });
    expect((await waiting)[0]?.offset).toBe(outcome?.offset as number);
  });
});

describe("feeds between processes", () => {
  const put = { kind: "put", space: "s", key: "k", value: byte } as const;

  test("work again after the feed file is gone", async () => {
    const store = await open();
    const other = await open();
    let heard = 0;
    store.watch("keys:s", () => heard++);
    rmSync(join(folder, "feeds"), { recursive: true });
    clock.advance(11_000);
    const before = heard;
    await other.commit([put]);
    await soon(() => heard > before);
  });

  test("remove the files of processes that are gone", async () => {
    const stale = join(folder, "feeds", "1-gone.feed");
    mkdirSync(join(folder, "feeds"), { recursive: true });
    writeFileSync(stale, new Uint8Array(4096));
    utimesSync(stale, new Date(Date.now() - 120_000), new Date());
    const store = await open();
    await store.commit([put]);
    await soon(() => !existsSync(stale));
  });

  test("are not missed when a wake-up is lost", async () => {
    const store = await open();
    const other = await open();
    let heard = 0;
    store.watch("keys:s", () => heard++);
    rmSync(join(folder, "feeds"), { recursive: true });
    await other.commit([put]);
    expect(heard).toBe(0);
    clock.advance(1000);
    expect(heard).toBe(1);
  });
});

async function soon(isSo: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 5000;
  while (!isSo()) {
    if (performance.now() > giveUpAt) throw new Error("it did not happen in 5 s");
    await Bun.sleep(1);
  }
}

test("messages with one order key come together when asked for, in order", async () => {
  const store = await open();
  await store.ensureGroup("t", "g", "earliest");
  const put = (text: string, orderKey: string) =>
    store.commit([
      { kind: "append", topic: "t", message: { data: new TextEncoder().encode(text), orderKey } },
    ]);
  const request = { topic: "t", group: "g", owner: "me", max: 10, leaseMs: 1e9, waitMs: 0, together: true };
  const claim = async (): Promise<[string, Delivery[]]> => {
    const deliveries = await store.claim(request);
    return [deliveries.map(({ data }) => new TextDecoder().decode(data)).join(" "), deliveries];
  };
  await put("a1", "a");
  await put("b1", "b");
  await put("a2", "a");
  const [first, taken] = await claim();
  expect(first).toBe("a1 b1 a2");
  // What comes meanwhile waits for all of its key, then comes together too.
  await put("a3", "a");
  await put("a4", "a");
  expect((await claim())[0]).toBe("");
  await ack(store, taken.slice(0, 2));
  expect((await claim())[0]).toBe("");
  await ack(store, taken.slice(2));
  const [second, late] = await claim();
  expect(second).toBe("a3 a4");
  // Given back, they keep their order; the one that is delayed holds the other up.
  await Promise.all(late.map((delivery) => store.nack(delivery, delivery === late[0] ? 500 : 0)));
  expect((await claim())[0]).toBe("");
  clock.advance(500);
  expect((await claim())[0]).toBe("a3 a4");
});
