import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { type Service, startService } from "../../../test/services.ts";
import { signalTree } from "../../../test/signal-tree.ts";
import { SimulatedClock } from "../../edges/simulated.ts";
import { copyStore } from "./copy.ts";
import { parseStoreAddress } from "./postgresql/address.ts";
import { Link } from "./postgresql/link.ts";
import { checkPostgresqlStore } from "./postgresql/maintenance.ts";
import { migrate, readVersion } from "./postgresql/schema.ts";
import { openPostgresqlStore, type PostgresqlStoreOptions } from "./postgresql.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Delivery, Store } from "./store.ts";

let server: Service;
let schemas = 0;
let address = "";
const opened: Store[] = [];
const clock = new SimulatedClock();
const byte = new Uint8Array([1]);
const put = (key: string) => ({ kind: "put", space: "s", key, value: byte }) as const;

beforeAll(async () => {
  server = await startService("postgresql", { options: { fsync: "off" } });
}, 120_000);

afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

afterAll(() => server.stop(), 60_000);

function freshAddress(): string {
  schemas += 1;
  address = `${server.details.url}?schema=unit_${schemas}`;
  return address;
}

async function open(options: Partial<PostgresqlStoreOptions> = {}): Promise<Store> {
  const store = await openPostgresqlStore({ address: options.address ?? freshAddress(), ...options });
  opened.push(store);
  return store;
}

async function query(text: string): Promise<void> {
  const sql = postgres(String(server.details.url), { max: 1, onnotice: () => undefined });
  await sql.unsafe(text);
  await sql.end();
}

async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + 10_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await Bun.sleep(20);
    }
  }
}

async function eventually(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`did not happen: ${what}`);
    await Bun.sleep(2);
  }
}

describe("openPostgresqlStore()", () => {
  test("makes its schema once though many processes do it at the same time", async () => {
    const shared = freshAddress();
    const stores = await Promise.all(Array.from({ length: 6 }, () => open({ address: shared })));
    await Promise.all(stores.map((store, index) => store.commit([put(`k${index}`)])));
    expect(await stores[0]?.list("s", { limit: 100 })).toHaveLength(6);
  });

  test("brings an older schema forward, what it holds stays, and many do it once", async () => {
    const store = await open();
    await store.commit([put("kept")]);
    const { schema, shown } = parseStoreAddress(address);
    // What a later mecha adds.
    const steps = ["SELECT never_again()", `ALTER TABLE ${schema}.leases ADD COLUMN colour text`];
    const later = async (): Promise<void> => {
      const link = new Link({
        server: String(server.details.url),
        schema,
        max: 1,
        timeoutMs: 5_000,
        patienceMs: 5_000,
      });
      try {
        await migrate(link, schema, shown, steps);
        expect(await readVersion(link, schema)).toBe(2);
        await link.read("SELECT colour FROM leases");
      } finally {
        await link.close();
      }
    };
    await Promise.all([later(), later(), later()]);
    expect(await store.get("s", "kept")).toBeDefined();
    await expect(open({ address })).rejects.toThrow("written by a newer mecha (schema 2");
  });

  test("refuses the schema of a newer mecha", async () => {
    await open();
    await query(`INSERT INTO unit_${schemas}.mecha_schema VALUES (99)`);
    await expect(open({ address })).rejects.toThrow("written by a newer mecha (schema 99");
  });

  test("says that nobody answers, without the password", async () => {
    const away = "postgresql://me:secret@127.0.0.1:1/db";
    const error = await open({ address: away, patienceMs: 100 }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: "StoreUnavailable", reason: "busy" });
    expect(Bun.inspect(error)).not.toContain("secret");
  });

  test("refuses an address that names no database or an odd schema", async () => {
    for (const bad of ["postgresql://h:1", "postgresql://h:1/d?schema=A;drop", "mysql://h/d"]) {
      await expect(open({ address: bad })).rejects.toMatchObject({ name: "StoreAddressRefused" });
    }
  });
});

describe("a PostgreSQL store", () => {
  test("times leases by the server, however wrong the own clock is", async () => {
    const store = await open({ clock });
    const lease = await store.acquireLease("l", "me", 60_000);
    expect(lease).toMatchObject({ held: true });
    const leftMs = (lease.held ? lease.expiresAtMs : 0) - Date.now();
    expect(leftMs).toBeGreaterThan(30_000);
    expect(leftMs).toBeLessThan(90_000);
  });

  test("commits nothing for an owner whose lease another has taken", async () => {
    const store = await open();
    const other = await open({ address });
    const lease = await store.acquireLease("l", "me", 30);
    await eventually(async () => (await other.acquireLease("l", "other", 60_000)).held, "the lease ends");
    const guard = { kind: "guard", lease: "l", token: lease.held ? lease.token : 0 } as const;
    await expect(store.commit([guard, put("stale")])).rejects.toMatchObject({ reason: "lease" });
    expect(await store.get("s", "stale")).toBeUndefined();
  });

  test("messages with one order key come together when asked for, in order", async () => {
    const store = await open();
    await store.ensureGroup("t", "g", "earliest");
    const append = (text: string) =>
      store.commit([
        { kind: "append", topic: "t", message: { data: Buffer.from(text), orderKey: text[0] as string } },
      ]);
    const claim = () =>
      store.claim({ topic: "t", group: "g", owner: "me", max: 10, leaseMs: 1e9, waitMs: 0, together: true });
    const texts = (deliveries: Delivery[]) =>
      deliveries.map(({ data }) => Buffer.from(data).toString()).join(" ");
    for (const text of ["a1", "b1", "a2"]) await append(text);
    const first = await claim();
    expect(texts(first)).toBe("a1 b1 a2");
    for (const text of ["a3", "a4"]) await append(text);
    expect(texts(await claim())).toBe("");
    await store.commit(first.map((delivery) => ({ kind: "ack", delivery })));
    expect(texts(await claim())).toBe("a3 a4");
  });

  test("takes order keys of any length", async () => {
    const store = await open();
    await store.ensureGroup("t", "g", "earliest");
    const orderKey = Array.from({ length: 20_000 }, (_, n) => n).join();
    for (const data of [byte, byte]) {
      await store.commit([{ kind: "append", topic: "t", message: { data, orderKey } }]);
    }
    const request = { topic: "t", group: "g", owner: "me", max: 10, leaseMs: 1e9, waitMs: 0 };
    expect(await store.claim(request)).toHaveLength(1);
  });

  test("removes what is expired, handled, too old or too much", async () => {
    const store = await open({ clock, time: "clock", retention: { ageMs: 3600_000, bytes: 50 } });
    await store.commit([{ ...put("k"), expiresAtMs: clock.now() + 10 }]);
    for (const group of ["g", "h"]) await store.ensureGroup("done", group, "earliest");
    await store.ensureGroup("large", "g", "earliest");
    const append = (topic: string, bytes: number) =>
      ({ kind: "append", topic, message: { data: new Uint8Array(bytes) } }) as const;
    await store.commit(Array.from({ length: 30 }, () => append("done", 1)));
    await store.commit(Array.from({ length: 10 }, () => append("large", 10)));
    await store.commit(Array.from({ length: 10 }, () => append("workflow:default:app", 10)));
    for (const group of ["g", "h"]) {
      const request = { topic: "done", group, owner: "me", max: 100, leaseMs: 1e9, waitMs: 0 };
      const deliveries = await store.claim(request);
      const [, ...others] = deliveries;
      await store.commit(others.map((delivery) => ({ kind: "ack", delivery })));
    }
    const messages = async (topic: string) => (await store.topicStats(topic))[0]?.messages ?? 0;
    await eventually(async () => {
      clock.advance(10_000);
      const { keys } = await store.stats();
      return keys === 0 && (await messages("done")) === 1 && (await messages("large")) === 5;
    }, "the sweeper leaves one message and 50 bytes");
    expect(await store.topicStats("large")).toMatchObject([{ dropped: 5, groups: [{ pending: 5 }] }]);
    clock.advance(3600_000);
    await eventually(async () => {
      clock.advance(10_000);
      return (await messages("done")) === 0 && (await messages("large")) === 0;
    }, "the old are dropped");
    expect(await messages("workflow:default:app")).toBe(10);
    expect((await checkPostgresqlStore(address)).problems).toEqual([expect.stringContaining("fsync=off")]);
  });
});

describe("when the server", () => {
  test("stands still, calls fail in time and work again when it goes on", async () => {
    await open();
    // Hasty, so that a server that stands still is noticed soon; one that is busy is asked again.
    const store = await answered(() => open({ address, queryTimeoutMs: 300, patienceMs: 300 }));
    await answered(() => store.commit([put("before")]));
    signalTree(server.pid, "STOP");
    try {
      await expect(store.commit([put("during")])).rejects.toMatchObject({ reason: "crashed" });
      await expect(store.get("s", "before")).rejects.toMatchObject({ name: "StoreUnavailable" });
    } finally {
      signalTree(server.pid, "CONT");
    }
    await answered(() => store.commit([put("after")]));
    expect(await answered(() => store.get("s", "before"))).toBeDefined();
  }, 30_000);

  test("is killed and comes back, reads wait, feeds fire and claims go on", async () => {
    const store = await open();
    const other = await open({ address });
    await store.ensureGroup("t", "g", "earliest");
    let fired = 0;
    store.watch("keys:s", () => {
      fired += 1;
    });
    const waiting = store.claim({
      topic: "t",
      group: "g",
      owner: "me",
      max: 1,
      leaseMs: 1e6,
      waitMs: 60_000,
    });
    await other.commit([put("before")]);
    await server.kill();
    const read = store.get("s", "before");
    await server.start();
    expect(await read).toBeDefined();
    const firedBefore = fired;
    await answered(() => other.commit([put("after")]));
    await eventually(() => fired > firedBefore, "the feed fires");
    await other.commit([{ kind: "append", topic: "t", message: { data: byte } }]);
    const claimed = await waiting.catch(() =>
      store.claim({ topic: "t", group: "g", owner: "me", max: 1, leaseMs: 1e6, waitMs: 60_000 }),
    );
    expect(claimed).toHaveLength(1);
  }, 30_000);
});

test("a copy moves everything there and back: etags, messages in flight, timers, histories, leases", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecha-copy-"));
  const first = await openSqliteStore({ folder: join(folder, "a") });
  const [outcome] = await first.commit([
    put("a\0b"),
    { kind: "timerSet", space: "x", id: "t", dueAtMs: 5, data: byte },
  ]);
  await first.ensureGroup("t", "g", "earliest");
  for (const text of ["m1", "m2", "m3"]) {
    const message = { data: Buffer.from(text), orderKey: "k\0", headers: { h: "\0" } };
    await first.commit([{ kind: "append", topic: "t", message }]);
  }
  await first.commit([{ kind: "history", instance: "i", expectedLength: 0, events: [byte, byte] }]);
  const lease = await first.acquireLease("l", "me", 3600_000);
  const [taken] = await first.claim({ topic: "t", group: "g", owner: "me", max: 1, leaseMs: 1e9, waitMs: 0 });
  await first.close();
  const target = { address: freshAddress() };
  expect(await copyStore({ folder: join(folder, "a") }, target)).toMatchObject({
    keys: 1,
    messages: 3,
    claims: 1,
  });
  await expect(copyStore({ folder: join(folder, "a") }, target)).rejects.toThrow("holds data already");
  await copyStore(target, { folder: join(folder, "b") });
  for (const store of [await open({ address }), await openSqliteStore({ folder: join(folder, "b") })]) {
    opened.push(store);
    expect((await store.get("s", "a\0b"))?.etag).toBe(outcome?.etag as string);
    expect(await store.readHistory("i", 0)).toHaveLength(2);
    expect(await store.getTimer("x", "t")).toMatchObject({ dueAtMs: 5 });
    expect(await store.getLease("l")).toMatchObject({ owner: "me", token: lease.held ? lease.token : -1 });
    await store.commit([{ kind: "ack", delivery: taken as Delivery }]);
    const request = { topic: "t", group: "g", owner: "me", max: 9, leaseMs: 1e9, waitMs: 0 };
    expect((await store.claim(request)).map(({ data }) => Buffer.from(data).toString())).toEqual(["m2"]);
    const [later] = await store.commit([put("new")]);
    expect(Number(later?.etag)).toBeGreaterThan(taken?.claim ?? Number.POSITIVE_INFINITY);
  }
  await rm(folder, { recursive: true, force: true });
}, 30_000);
