import { expect, test } from "bun:test";
import { join } from "node:path";
import { seededRandom } from "../../src/edges/simulated.ts";
import { openPostgresqlStore } from "../../src/engine/store/postgresql.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { eventually } from "../contract/store/harness.ts";
import { startService } from "../services.ts";
import type { LeaderWord } from "./store-pause/leader.ts";

const cycles = Number(process.env.MECHA_TEST_ROUNDS ?? 12);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const leaseMs = 200;

test(`of three hosts that are stopped and go on, none writes after another has led (MECHA_TEST_SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  const server = await startService("postgresql");
  const address = String(server.details.url);
  const store = await openPostgresqlStore({ address });
  await store.ensureGroup("turns", "check", "earliest");
  const words: LeaderWord[] = [];
  const hosts = ["a", "b", "c"].map((name) => {
    const script = join(import.meta.dir, "store-pause/leader.ts");
    const host = Bun.spawn([process.execPath, script, address, name, String(leaseMs)], {
      stdout: "pipe",
      stderr: "inherit",
    });
    return { name, host, done: listen(host.stdout, words) };
  });
  try {
    await eventually(() => words.length > 0, "somebody leads", 20_000);
    for (let cycle = 0; cycle < cycles; cycle++) {
      const lease = await store.getLease("leader");
      const leader = hosts.find(({ name }) => name === lease?.owner) ?? hosts[cycle % 3];
      leader?.host.kill("SIGSTOP");
      await Bun.sleep(leaseMs * (0.2 + random.next() * 2.8));
      leader?.host.kill("SIGCONT");
      const before = words.length;
      // A pause shorter than the lease changes nothing: then nobody says a word.
      await eventually(() => words.length > before, "a change of leaders", leaseMs).catch(() => undefined);
    }
  } finally {
    for (const { host } of hosts) host.kill("SIGKILL");
    await Promise.all(hosts.map(({ done }) => done));
  }
  const tokens = await tokensInOrder(store);
  await store.close();
  await server.stop();
  expect(tokens.length).toBeGreaterThan(cycles * 10);
  expect(tokens).toEqual(tokens.toSorted((one, other) => one - other));
  expect(new Set(tokens).size).toBeGreaterThan(1);
  expect(words.some(({ outcome }) => outcome === "refused")).toBe(true);
}, 120_000);

async function listen(stream: ReadableStream<Uint8Array>, words: LeaderWord[]): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) words.push(JSON.parse(line) as LeaderWord);
  }
}

/** The fencing tokens under which turns were written, in the order of their commits. */
async function tokensInOrder(store: Store): Promise<number[]> {
  const tokens: number[] = [];
  for (;;) {
    const request = { topic: "turns", group: "check", owner: "me", max: 1000, leaseMs: 1e7, waitMs: 0 };
    const deliveries = await store.claim(request);
    if (deliveries.length === 0) return tokens;
    tokens.push(...deliveries.map(({ data }) => Number(new TextDecoder().decode(data))));
  }
}
