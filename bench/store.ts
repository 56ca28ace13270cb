import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../src/engine/store/sqlite.ts";
import type { Store } from "../src/engine/store/store.ts";
import {
  type Bench,
  connections,
  type Line,
  median,
  type Round,
  ratioLine,
  takeTurns,
} from "./harness/bench.ts";
import { runProgram } from "./harness/program.ts";

const value = new Uint8Array(200).fill(65);
const keyCount = 10_000;
const keys = Array.from({ length: keyCount }, (_, n) => `key-${n}`);
const space = "bench";

/** The embedded store without anything in front of it, against bare `bun:sqlite` doing the same with as many syncs. */
export default {
  name: "store",
  async run(settings) {
    const folder = mkdtempSync(join(tmpdir(), "mecha-bench-store-"));
    const store = await openSqliteStore({ folder: join(folder, "store") });
    const bare = bareTable(join(folder, "bare.db"));
    try {
      await store.ensureGroup("bench", "group", "latest");
      const puts = await takeTurns(settings, {
        mecha: (seconds) => inLanes(seconds, (n) => putOne(store, n)),
        yardstick: (seconds) => measure(seconds, async () => bare.putMany()),
      });
      const gets = await takeTurns(settings, {
        mecha: (seconds) => measure(seconds, () => getMany(store)),
        yardstick: (seconds) => measure(seconds, async () => bare.getMany()),
      });
      const messages = await takeTurns(settings, {
        mecha: (seconds) => publishAndHandle(store, seconds),
        yardstick: (seconds) => measure(seconds, async () => bare.putMany()),
      });
      return [
        ratioLine("store: put, 64 in flight, fsynced", 2.5, "bare bun:sqlite, 64 a commit", puts),
        ratioLine("store: get", 3, "bare bun:sqlite", gets),
        ratioLine("store: publish, claim, ack", 5, "bare put", messages),
        await feedLine(store, join(folder, "store")),
      ];
    } finally {
      await store.close();
      bare.close();
      rmSync(folder, { recursive: true, force: true });
    }
  },
} satisfies Bench;

/** Counts what `work` says it did, and what this process spent on it. */
async function measure(seconds: number, work: () => Promise<number>): Promise<Round> {
  const startMs = performance.now();
  const before = process.cpuUsage();
  let requests = 0;
  while (performance.now() - startMs < seconds * 1000) requests += await work();
  const { user, system } = process.cpuUsage(before);
  return { requests, cpuUs: user + system, seconds: (performance.now() - startMs) / 1000 };
}

/** As many callers as a busy server has, each waiting for its acknowledgement. */
function inLanes(seconds: number, one: (n: number) => Promise<unknown>): Promise<Round> {
  let isFirst = true;
  return measure(seconds, async () => {
    if (!isFirst) return 0;
    isFirst = false;
    const endMs = performance.now() + seconds * 1000;
    const lane = async (number: number): Promise<number> => {
      let count = 0;
      for (; performance.now() < endMs; count++) await one(number * 7919 + count);
      return count;
    };
    const counts = await Promise.all(Array.from({ length: connections }, (_, number) => lane(number)));
    return counts.reduce((sum, count) => sum + count, 0);
  });
}

function keyOf(n: number): string {
  return keys[n % keyCount] ?? "";
}

function putOne(store: Store, n: number): Promise<unknown> {
  return store.commit([{ kind: "put", space, key: keyOf(n), value, contentType: "application/json" }]);
}

async function getMany(store: Store): Promise<number> {
  for (let n = 0; n < 1000; n++) await store.get(space, keyOf(n));
  return 1000;
}

/** Publishers wait for their acknowledgement; one consumer claims and acknowledges by the batch until all is handled. */
async function publishAndHandle(store: Store, seconds: number): Promise<Round> {
  const before = process.cpuUsage();
  const startMs = performance.now();
  let published = Number.POSITIVE_INFINITY;
  let handled = 0;
  const consume = async (): Promise<void> => {
    while (handled < published) {
      const claim = { topic: "bench", group: "group", owner: "bench", max: 128, leaseMs: 60_000, waitMs: 20 };
      const deliveries = await store.claim(claim);
      if (deliveries.length === 0) continue;
      await store.commit(deliveries.map((delivery) => ({ kind: "ack", delivery })));
      handled += deliveries.length;
    }
  };
  const consuming = consume();
  const append = {
    kind: "append",
    topic: "bench",
    message: { data: value, headers: { type: "bench" } },
  } as const;
  const { requests } = await inLanes(seconds, () => store.commit([append]));
  published = requests;
  await consuming;
  const { user, system } = process.cpuUsage(before);
  return { requests, cpuUs: user + system, seconds: (performance.now() - startMs) / 1000 };
}

/** From the end of a commit in another process to the feed in this one. */
async function feedLine(store: Store, folder: string): Promise<Line> {
  const delays: number[] = [];
  let last = 0;
  const unwatch = store.watch("keys:feed", async () => {
    const entry = await store.get("feed", "time");
    const committedAtMs = entry ? Number(new TextDecoder().decode(entry.value)) : 0;
    if (committedAtMs === last) return;
    last = committedAtMs;
    delays.push(performance.timeOrigin + performance.now() - committedAtMs);
  });
  await runProgram("store-writer", [folder]);
  unwatch();
  const p50 = median(delays);
  const figure = `${p50.toFixed(1)} ms p50 of ${delays.length}, write included`;
  return { name: "store: change seen by another process", figure, value: p50, unit: "ms", target: 10 };
}

function bareTable(path: string): { putMany(): number; getMany(): number; close(): void } {
  const db = new Database(path);
  for (const setting of ["journal_mode = WAL", "synchronous = FULL"]) db.run(`PRAGMA ${setting}`);
  db.run("CREATE TABLE keys (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID");
  const put = db.prepare("INSERT OR REPLACE INTO keys VALUES (?, ?)");
  const get = db.prepare("SELECT value FROM keys WHERE key = ?");
  let next = 0;
  const putAll = db.transaction(() => {
    for (let n = 0; n < connections; n++) put.run(keyOf(next + n * 7919), value);
    next += 1;
  });
  return {
    putMany: () => {
      putAll.immediate();
      return connections;
    },
    getMany: () => {
      for (let n = 0; n < 1000; n++) get.get(keyOf(n));
      return 1000;
    },
    close: () => db.close(),
  };
}
