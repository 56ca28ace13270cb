import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMecha, type TestApp, type TestMecha } from "../../src/testing/index.ts";
import type { BlockName } from "./cells.ts";

/** What the target does with the next tries: succeed, unless it is told otherwise. */
export class Plan {
  tries = 0;
  /** What a health check is told. */
  isWell = true;
  #failures = 0;
  #hangs = 0;
  readonly #held: (() => void)[] = [];

  fail(howMany: number): void {
    this.#failures = howMany;
  }

  /** That many tries wait until `release`, and are good. */
  hang(howMany: number): void {
    this.#hangs = howMany;
  }

  release(): void {
    for (const go of this.#held.splice(0)) go();
  }

  /** A try reaches the target. Whether it is good. */
  async next(): Promise<boolean> {
    this.tries++;
    if (this.#hangs > 0) {
      this.#hangs--;
      await new Promise<void>((go) => void this.#held.push(go));
      return true;
    }
    if (this.#failures <= 0) return true;
    this.#failures--;
    return false;
  }
}

export interface Used {
  isGood: boolean;
  /** What the user of the block got to see. */
  text: string;
}

/** A whole runtime whose app `shop` uses one building block, on a target that does as planned. */
export interface Rig {
  readonly plan: Plan;
  readonly mecha: TestMecha;
  use(): Promise<Used>;
  /** How often a block of a policy did something. */
  did(what: string): Promise<number>;
  stop(): Promise<void>;
}

export interface Bench {
  block: BlockName;
  /** A targetRef. */
  target: string;
  /** The operation of a use, for policies that list some. */
  operation: string;
  open(plan: Plan): Promise<Opened>;
}

/** Where instances of the app are chosen among. */
export interface Fleet {
  /** What each of the two instances does. */
  readonly plans: readonly [Plan, Plan];
  use(): Promise<Used>;
  /** The health of the instances that are known, as the metadata API has it. */
  healths(): Promise<string[]>;
  stop(): Promise<void>;
}

export interface Opened {
  apps: TestApp[];
  resources: string;
  /** Of the runtime of `shop`. */
  start(mecha: TestMecha): Promise<() => Promise<Used>>;
  close(): unknown;
}

/** Starts the bench with a policy. */
export async function openRig(bench: Bench, policy: string): Promise<Rig> {
  const plan = new Plan();
  const opened = await bench.open(plan);
  const apps = opened.apps.map((app) => ({
    ...app,
    options: { ...app.options, enableMetrics: true, metricsPort: 0 },
  }));
  const resources = [policy, opened.resources].filter((text) => text !== "").join("---\n");
  const mecha = await startMecha({ apps, resources });
  const use = await opened.start(mecha);
  const { metrics } = mecha.ports("shop") as unknown as { metrics: number };
  return {
    plan,
    mecha,
    use,
    async did(what) {
      const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
      const lines = text.split("\n").filter((line) => line.startsWith("mecha_traffic_activations_total{"));
      const own = lines.filter((line) => line.includes(`what="${what}"`));
      return own.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    },
    async stop() {
      plan.release();
      await mecha.stop();
      await opened.close();
    },
  };
}

/** Starts the app of a bench twice, each in a runtime of its own, and `shop` with a policy in a third one. */
export async function openFleet(bench: Bench, policy: string): Promise<Fleet> {
  const plans = [new Plan(), new Plan()] as const;
  const dataFolder = mkdtempSync(join(tmpdir(), "mecha-matrix-"));
  const opened = await Promise.all(plans.map((plan) => bench.open(plan)));
  const started: TestMecha[] = [];
  const start = async (apps: TestApp[], resources = ""): Promise<TestMecha> => {
    const mecha = await startMecha({ apps, dataFolder, resources });
    started.push(mecha);
    return mecha;
  };
  for (const { apps } of opened) await start(apps.filter(({ appId }) => appId !== "shop"));
  const [first] = opened as [Opened, Opened];
  const resources = [policy, first.resources].filter((text) => text !== "").join("---\n");
  const shop = await start([{ appId: "shop" }], resources);
  return {
    plans,
    use: await first.start(shop),
    async healths() {
      const answer = await shop.http("shop", "GET /v1.0/metadata");
      const body = answer.json() as { mecha?: { upstreams?: { health: string }[] } };
      return (body.mecha?.upstreams ?? []).map(({ health }) => health).sort();
    },
    async stop() {
      for (const plan of plans) plan.release();
      for (const mecha of started.reverse()) await mecha.stop();
      for (const one of opened) await one.close();
      rmSync(dataFolder, { recursive: true, force: true });
    },
  };
}
