import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import { eventually } from "../contract/store/harness.ts";
import { type ChildEvent, topic } from "./singleton-kill/child.ts";

const leaseMs = 900;
const rounds = Number(process.env.SINGLETON_ROUNDS) || 10;
const seed = Number(process.env.SINGLETON_SEED) || Date.now() % 100_000;

interface Term {
  term: number;
  token: number;
  by: Child;
  atMs: number;
}

test(`leaders that are killed or stopped are followed by one other (seed ${seed})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecha-singleton-"));
  const group = new Group(folder);
  const takeovers: number[] = [];
  try {
    for (let index = 0; index < 3; index++) group.spawn();
    await group.nextTerm(0);
    for (let round = 0; round < rounds; round++) {
      const leader = await group.living();
      const before = leader.term;
      const atMs = performance.now();
      if (round % 2 === 0) {
        leader.by.process.kill("SIGKILL");
        takeovers.push((await group.nextTerm(before)).atMs - atMs);
        group.spawn();
        continue;
      }
      leader.by.process.kill("SIGSTOP");
      // Sometimes it comes back before its lease ends, sometimes long after.
      await Bun.sleep(leaseMs * (0.2 + ((round * 7919 + seed) % 25) / 10));
      leader.by.process.kill("SIGCONT");
    }
    // One more that surely sleeps through its lease.
    const last = await group.sleepThroughLease();
    await eventually(() => last.by.lost.has(last.token), "the stopped leader learns of it", 20_000);
  } finally {
    await group.end();
  }
  const terms = group.terms.sort((a, b) => a.term - b.term);
  expect(new Set(terms.map(({ term }) => term)).size).toBe(terms.length);
  expect(terms.length).toBeGreaterThan(rounds / 2);
  expectGrowing(terms.map(({ token }) => token));
  // Each takeover in whole leases; the half that a busy machine does not hold up tells what is usual.
  const inLeases = takeovers.map((tookMs) => Math.ceil(tookMs / leaseMs)).sort((a, b) => a - b);
  expect(inLeases[Math.floor((inLeases.length - 1) / 2)]).toBeLessThanOrEqual(2);
  await expectFenced(folder);
  await rm(folder, { recursive: true, force: true });
}, 180_000);

function expectGrowing(tokens: number[]): void {
  for (const [index, token] of tokens.entries()) {
    if (index > 0) expect(token).toBeGreaterThan(tokens[index - 1] ?? Infinity);
  }
}

/** What leaders wrote, in the order it was committed: none after a later leader had written. */
async function expectFenced(folder: string): Promise<void> {
  const store = await openSqliteStore({ folder });
  try {
    await store.ensureGroup(topic, "check", "earliest");
    let newest = 0;
    let count = 0;
    for (;;) {
      const request = { topic, group: "check", owner: "check", max: 1000, leaseMs: 60_000, waitMs: 0 };
      const messages = await store.claim(request);
      if (messages.length === 0) break;
      for (const { data } of messages) {
        const { token } = JSON.parse(Buffer.from(data).toString()) as { token: number };
        expect(token).toBeGreaterThanOrEqual(newest);
        newest = token;
        count++;
      }
    }
    expect(count).toBeGreaterThan(0);
  } finally {
    await store.close();
  }
}

class Group {
  readonly terms: Term[] = [];
  readonly #folder: string;
  readonly #children: Child[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  spawn(): void {
    const child = new Child(this.#folder, `c${this.#children.length}`, (event) => {
      if (event.kind !== "leading") return;
      const { term, token } = event;
      this.terms.push({ term, token, by: child, atMs: performance.now() });
    });
    this.#children.push(child);
  }

  /** The newest leader that has not said it lost. */
  async living(): Promise<Term> {
    let found: Term | undefined;
    await eventually(
      () => {
        const newest = this.terms.reduce((a, b) => (b.term > a.term ? b : a));
        found = newest.by.lost.has(newest.token) || newest.by.isDead ? undefined : newest;
        return found !== undefined;
      },
      "somebody leads",
      30_000,
    );
    return found as Term;
  }

  /**
   * Stops the leader until another leads. One that is stopped in the middle of a write holds SQLite's write lock, and
   * with it everybody: it goes on, and the next try meets it elsewhere.
   */
  async sleepThroughLease(): Promise<Term> {
    for (let triesLeft = 10; ; triesLeft--) {
      const leader = await this.living();
      leader.by.process.kill("SIGSTOP");
      const isFollowed = await this.nextTerm(leader.term, 8 * leaseMs).then(
        () => true,
        (error) => {
          if (triesLeft === 1) throw error;
          return false;
        },
      );
      leader.by.process.kill("SIGCONT");
      if (isFollowed) return leader;
    }
  }

  async nextTerm(after: number, withinMs = 30_000): Promise<Term> {
    const find = () => this.terms.find(({ term }) => term > after);
    await eventually(() => find() !== undefined, `a term after ${after}`, withinMs);
    return find() as Term;
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.process.kill("SIGKILL");
    await Promise.all(this.#children.map((child) => child.done));
  }
}

class Child {
  readonly process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly done: Promise<void>;
  /** Tokens it knows to have lost. */
  readonly lost = new Set<number>();

  constructor(folder: string, name: string, onEvent: (event: ChildEvent) => void) {
    const script = join(import.meta.dir, "singleton-kill/child.ts");
    this.process = Bun.spawn([process.execPath, script, folder, name, String(leaseMs)], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.done = this.#read(onEvent);
  }

  get isDead(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  async #read(onEvent: (event: ChildEvent) => void): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const event = JSON.parse(line) as ChildEvent;
        if (event.kind === "lost") this.lost.add(event.token);
        onEvent(event);
      }
    }
  }
}
