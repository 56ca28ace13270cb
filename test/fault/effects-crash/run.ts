/**
 * Kills the runtime at random moments while a handler answers with effects, and reports what came of them.
 * `bun test/fault/effects-crash/run.ts --rounds 2000 --seed 7` runs as many rounds as wanted.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Random } from "../../../src/edges/random.ts";
import { seededRandom } from "../../../src/edges/simulated.ts";
import { eventually, freePort, type MechaProcess, startMecha } from "../../mecha-process.ts";
import { laneOf, Shop } from "./shop.ts";

const inputsPerRound = 4;
const settleMs = 60_000;

const resources = `apiVersion: mecha.run/v1alpha1
kind: Idempotency
metadata: { name: once }
spec:
  targetRefs:
    - { kind: App, name: shop }
    - { kind: Subscription, name: pubsub/paid }
    - { kind: Subscription, name: pubsub/accepted }
`;

export interface EffectsReport {
  /** Every key of the state. */
  state: Record<string, number>;
  /** Every effect that reached somebody, by its identity. */
  effects: string[];
  kills: number;
}

/** The same inputs with or without crashes. */
export async function runEffects(options: {
  rounds: number;
  seed: number;
  crashes: boolean;
}): Promise<EffectsReport> {
  const run = new Run(options.seed);
  try {
    return await run.execute(options.rounds, options.crashes);
  } finally {
    await run.close();
  }
}

class Run {
  readonly #folder = mkdtempSync(join(tmpdir(), "mecha-effects-crash-"));
  readonly #shop = new Shop();
  readonly #random: Random;
  #appPort = 0;
  #httpPort = 0;
  #grpcPort = 0;
  #runtime: MechaProcess | undefined;
  #isOver = false;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  async execute(rounds: number, crashes: boolean): Promise<EffectsReport> {
    mkdirSync(join(this.#folder, "resources"));
    writeFileSync(join(this.#folder, "resources", "once.yaml"), resources);
    this.#appPort = await this.#shop.listen();
    [this.#httpPort, this.#grpcPort] = [await freePort(), await freePort()];
    this.#shop.connect(this.#url());
    const inputs: string[] = [];
    const sending: Promise<void>[] = [];
    this.#start();
    for (let round = 0; round < rounds; round++) {
      for (let index = 0; index < inputsPerRound; index++) {
        const n = `${index % 2 === 0 ? "call" : "event"}${round * inputsPerRound + index}`;
        inputs.push(n);
        sending.push(index % 2 === 0 ? this.#call(n) : this.#publish(n));
      }
      if (!crashes) continue;
      // Also moments in which it only starts.
      if (this.#random.next() < 0.9) await this.#isUp();
      await Bun.sleep(this.#random.next() ** 2 * 300);
      await this.#crash();
    }
    await Promise.all(sending);
    return { ...(await this.#settled(inputs)), kills: crashes ? rounds : 0 };
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#runtime?.child.kill("SIGKILL");
    await this.#runtime?.ended;
    await this.#shop.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #url(): string {
    return `http://127.0.0.1:${this.#httpPort}`;
  }

  #start(): void {
    const flags = {
      "app-id": "shop",
      "app-port": this.#appPort,
      "dapr-http-port": this.#httpPort,
      "dapr-grpc-port": this.#grpcPort,
      "metrics-port": 0,
      "resources-path": join(this.#folder, "resources"),
      "data-dir": join(this.#folder, "data"),
      "log-level": "error",
    };
    const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.#runtime = startMecha(["run", ...words], { env: { HOME: this.#folder } });
  }

  async #crash(): Promise<void> {
    this.#runtime?.child.kill("SIGKILL");
    await this.#runtime?.ended;
    this.#start();
  }

  async #isUp(): Promise<void> {
    await eventually(async () => {
      const { ok } = await fetch(`${this.#url()}/v1.0/healthz`);
      if (!ok) throw new Error(`the runtime is not up: ${this.#runtime?.output().slice(-2000)}`);
    });
  }

  /** Callers repeat what was not answered, with the same key. */
  #call(n: string): Promise<void> {
    return this.#repeat("/v1.0/invoke/shop/method/order", { n }, { "Idempotency-Key": n });
  }

  /** The publisher too: its repetition is another message with the same id. */
  #publish(n: string): Promise<void> {
    return this.#repeat(`/v1.0/publish/pubsub/paid?metadata.cloudevent.id=${n}`, { n }, {});
  }

  async #repeat(path: string, body: object, headers: Record<string, string>): Promise<void> {
    while (!this.#isOver) {
      try {
        const answer = await fetch(this.#url() + path, {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(10_000),
        });
        await answer.text();
        if (answer.ok) return;
      } catch {
        // Nobody was there, or left: once more.
      }
      await Bun.sleep(20 + this.#random.next() * 30);
    }
  }

  /** When everything has happened that should, and time enough has passed for what should not. */
  async #settled(inputs: readonly string[]): Promise<Pick<EffectsReport, "state" | "effects">> {
    const keys = inputs.flatMap((n) => [`order-${n}`, `accepted-${n}`, `mailed-${n}`]);
    keys.push(...new Set(inputs.map((n) => `lane-${laneOf(n)}`)));
    const effects = inputs.length * 3;
    await this.#isUp();
    await eventually(async () => {
      const state = await this.#read(keys);
      const missing = keys.filter((key) => state[key] === undefined);
      if (missing.length > 0) throw new Error(`missing after all: ${missing.join(" ")}`);
      if (this.#shop.effects.size < effects)
        throw new Error(`${this.#shop.effects.size} of ${effects} effects`);
    }, settleMs);
    await Bun.sleep(500);
    return { state: await this.#read(keys), effects: [...this.#shop.effects].sort() };
  }

  async #read(keys: readonly string[]): Promise<Record<string, number>> {
    const answer = await fetch(`${this.#url()}/v1.0/state/statestore/bulk`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ keys, parallelism: 10 }),
    });
    const items = (await answer.json()) as { key: string; data?: number }[];
    return Object.fromEntries(items.flatMap(({ key, data }) => (data === undefined ? [] : [[key, data]])));
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "40" },
      seed: { type: "string", default: String(Date.now() % 1e6) },
    },
  });
  const [rounds, seed] = [Number(values.rounds), Number(values.seed)];
  console.log(`seed ${seed}`);
  const calm = await runEffects({ rounds, seed, crashes: false });
  const crashed = await runEffects({ rounds, seed, crashes: true });
  const isEqual = JSON.stringify({ ...calm, kills: 0 }) === JSON.stringify({ ...crashed, kills: 0 });
  console.log(`${crashed.kills} kills, ${crashed.effects.length} effects, equal: ${isEqual}`);
  process.exit(isEqual ? 0 : 1);
}
