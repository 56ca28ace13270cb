import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";

const hourMs = 3600_000;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Claims a message and a timer with leases of an hour, says so, and waits to be killed. */
const holder = `
import { openSqliteStore } from "${import.meta.dirname}/../../src/engine/store/sqlite.ts";
const store = await openSqliteStore({ folder: process.argv[1] });
const claimed = await store.claim({ topic: "t", group: "g", owner: "me", max: 9, leaseMs: ${hourMs}, waitMs: 5000 });
const timers = await store.claimTimers({ space: "s", owner: "me", nowMs: Date.now(), max: 9, leaseMs: ${hourMs} });
console.log(claimed.length + timers.length);
setInterval(() => undefined, 1000);
`;

async function setUp(): Promise<{ folder: string; open: () => Promise<Store> }> {
  const folder = await mkdtemp(join(tmpdir(), "mecha-orphans-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const open = async (): Promise<Store> => {
    const store = await openSqliteStore({ folder, sweepEveryMs: 50 });
    closers.push(() => store.close());
    return store;
  };
  return { folder, open };
}

async function holdAndDie(folder: string): Promise<void> {
  const child = Bun.spawn([process.execPath, "-e", holder, folder], { stdout: "pipe", stderr: "inherit" });
  const { value } = await child.stdout.getReader().read();
  expect(
    Buffer.from(value ?? new Uint8Array(0))
      .toString()
      .trim(),
  ).toBe("2");
  child.kill("SIGKILL");
  await child.exited;
}

test.each(["stays", "comes"])(
  "what a killed process held is free for a store that %s",
  async (which) => {
    const { folder, open } = await setUp();
    const first = await open();
    await first.ensureGroup("t", "g", "earliest");
    await first.commit([
      { kind: "append", topic: "t", message: { data: Buffer.from("one") } },
      { kind: "timerSet", space: "s", id: "1", dueAtMs: 1, data: Buffer.from("two") },
    ]);
    if (which === "comes") await first.close();
    await holdAndDie(folder);
    const store = which === "comes" ? await open() : first;

    const deliveries = await store.claim({
      topic: "t",
      group: "g",
      owner: "me",
      max: 9,
      leaseMs: 1000,
      waitMs: 10_000,
    });
    expect(deliveries.map(({ data, attempt }) => [Buffer.from(data).toString(), attempt])).toEqual([
      ["one", 2],
    ]);
    const timers = await store.claimTimers({
      space: "s",
      owner: "me",
      nowMs: Date.now(),
      max: 9,
      leaseMs: 1000,
    });
    expect(timers.map(({ id }) => id)).toEqual(["1"]);
  },
  30_000,
);
