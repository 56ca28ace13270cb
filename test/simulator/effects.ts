import type { StateStore } from "../../src/component/state-store.ts";
import { sleep } from "../../src/edges/clock.ts";
import type { Edges } from "../../src/edges/edges.ts";
import { simulatedEdges } from "../../src/edges/simulated.ts";
import { pubsubOnStore } from "../../src/engine/defaults/pubsub.ts";
import { stateOnStore } from "../../src/engine/defaults/state.ts";
import { createIdempotency } from "../../src/engine/idempotency/idempotency.ts";
import { createJobs } from "../../src/engine/jobs/jobs.ts";
import type { PubSubEngine } from "../../src/engine/pubsub/engine.ts";
import { createPubSub } from "../../src/engine/pubsub/pubsub.ts";
import type { HttpReply, HttpRequest } from "../../src/net/http1/types.ts";
import { deliverHttp } from "../../src/peer/deliver.ts";
import type { IdempotencySpec, Resource, SubscriptionSpec } from "../../src/resource/resource.ts";
import type { Telemetry } from "../../src/telemetry/telemetry.ts";
import { testComponents } from "../wire/parts.ts";
import { type Birth, Cluster, quietTelemetry } from "./cluster.ts";
import { between, type SimulatedHost } from "./host.ts";
import { bodyOf, Shop, ShopChannel } from "./shop.ts";

const principal = { namespace: "default", appId: "shop" };
const inputs = ["call0", "event1", "call2", "event3", "call4", "event5"];
const chaosMs = 6_000;
const stepMs = 150;
const healMs = 300_000;

export interface EffectsRun {
  /** Every key of the state. */
  state: Record<string, string>;
  /** Every effect that reached somebody, by its identity. */
  effects: string[];
  disturbances: number;
  lostAnswers: number;
}

/** A handler that answers with effects gets the same calls and events, with or without a schedule of crashes. */
export async function simulateEffects(seed: number, isCalm: boolean): Promise<EffectsRun> {
  const world = new Shops(seed);
  world.start(2);
  try {
    inputs.forEach((n, index) => {
      const atMs = isCalm ? index : between(world.random, 0, chaosMs * 0.7);
      world.clock.setTimer(atMs, () => world.insist((machine) => machine.ask(n)));
    });
    if (!isCalm) await disturb(world);
    world.heal();
    await world.run(healMs, () => world.shop.effects.size >= inputs.length * 3 && world.isSettled());
    // What should not come has time to come.
    await world.run(60_000);
    const { disturbances, lostAnswers } = world;
    return { state: world.state(), effects: [...world.shop.effects].sort(), disturbances, lostAnswers };
  } finally {
    world.close();
  }
}

async function disturb(world: Shops): Promise<void> {
  const { random } = world;
  Object.assign(world.faults, {
    refused: between(random, 0, 0.05),
    unanswered: between(random, 0, 0.08),
    slow: between(random, 0, 0.05),
  });
  for (let passedMs = 0; passedMs < chaosMs; passedMs += stepMs) {
    await world.run(stepMs);
    const index = Math.floor(random.next() * world.machines.length);
    const dice = random.next();
    if (dice < 0.12) world.crash(index);
    else if (dice < 0.16) world.pause(index, between(random, 100, 40_000));
  }
}

interface Machine {
  host: SimulatedHost;
  store: Birth["store"];
  /** A caller or publisher brings an input. */
  ask(n: string): Promise<void>;
}

/** Runtimes of one app, which is a process of its own and lives on. */
class Shops extends Cluster<Machine> {
  readonly shop = new Shop();

  /** Keys and values on the disk. */
  state(): Record<string, string> {
    const entries = this.disk.reads.list("state:default:statestore", { limit: 1000 }, this.clock.now());
    return Object.fromEntries(entries.map(({ key, value }) => [key, Buffer.from(value).toString()]));
  }

  isSettled(): boolean {
    return this.disk.unhandled().length === 0;
  }

  protected override boot({ host, store, random }: Birth): Machine {
    const edges: Edges = { ...simulatedEdges(0), clock: host.clock, random };
    const components = testComponents();
    const channel = new ShopChannel(this.shop, host, random);
    const parts = { principal, components, telemetry: quietTelemetry(), channel, edges };
    const idempotency = createIdempotency({
      ...{ ...parts, store: store.store, pubsub: () => pubsub },
      invoker: () => ({ invokeHttp: ({ target, request }) => deliver(channel, target, request) }),
    });
    const pubsub: PubSubEngine = createPubSub({
      ...{ ...parts, declarative: () => subscriptions, discovers: false, guardOf: idempotency.guardOf },
    });
    const jobs = createJobs({
      ...{ ...parts, channel: undefined, store: store.store, clock: host.clock },
      ...{ appMaxConcurrency: -1, owner: host.name },
      target: {
        trigger: async ({ name }) => {
          this.shop.effects.add(`job ${name}`);
          return { kind: "done" };
        },
      },
    });
    const isUp = untilDone(host, async () => {
      channel.state = await this.#open(components, store, parts);
      await idempotency.apply([once]);
      await pubsub.start();
      jobs.start();
    });
    const ask = async (n: string): Promise<void> => {
      await isUp;
      await (n.startsWith("call") ? call(channel, n) : publish(pubsub, n));
    };
    return { host, store, ask };
  }

  async #open(
    components: ReturnType<typeof testComponents>,
    { store }: Birth["store"],
    { telemetry, edges }: { telemetry: Telemetry; edges: Edges },
  ): Promise<StateStore> {
    const around = { ...principal, log: telemetry.log, edges, env: {} };
    const state = await stateOnStore(store).open({ space: undefined }, { ...around, name: "statestore" });
    components.put("state", "statestore", state);
    const options = {
      ...{ initialOffset: "oldest" as const, processingTimeout: 30_000 },
      ...{ redeliverInterval: 100, redeliverIntervalMax: 30_000 },
    };
    components.put(
      "pubsub",
      "pubsub",
      await pubsubOnStore(store).open(options, { ...around, name: "pubsub" }),
    );
    return state;
  }
}

/** A caller repeats what was not answered, with the same key. */
async function call(channel: ShopChannel, n: string): Promise<void> {
  const { signal } = new AbortController();
  const headers = ["Content-Type", "application/json", "Idempotency-Key", n];
  const body = bodyOf(Buffer.from(JSON.stringify({ n })));
  const request = { method: "POST", target: "/order", headers, body, trace: undefined, signal };
  const { status } = await deliverHttp(channel, { ...request, cancellation: undefined }, 1 << 20);
  if (status !== 200) throw new Error(`the call was answered with ${status}`);
}

/** So does a publisher: its repetition is another message with the same id. */
async function publish(pubsub: PubSubEngine, n: string): Promise<void> {
  const data = Buffer.from(JSON.stringify({ n }));
  const event = { pubsubName: "pubsub", topic: "paid", data, contentType: "application/json" };
  await pubsub.publish({ ...event, metadata: { "cloudevent.id": n }, trace: undefined });
}

function deliver(channel: ShopChannel, target: string, request: HttpRequest): Promise<HttpReply> {
  const { method, rawHeaders, body, signal } = request;
  const call = {
    method,
    target,
    headers: rawHeaders,
    body,
    trace: undefined,
    signal,
    cancellation: undefined,
  };
  return deliverHttp(channel, call, 1 << 20);
}

/** A runtime that can not start tries again. */
async function untilDone({ clock }: SimulatedHost, work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch {
      await sleep(clock, 500);
    }
  }
}

function resource<K extends string, S>(kind: K, spec: S): Resource<K, S> {
  const source = { file: "simulated", line: 1, column: 1 };
  const where = { apiVersion: "v1", namespace: "", scopes: [], source, at: () => source };
  return { ...where, kind, name: kind.toLowerCase(), spec };
}

const once = resource("Idempotency", {
  targets: [
    { kind: "App", name: principal.appId },
    { kind: "Subscription", name: "pubsub/paid" },
    { kind: "Subscription", name: "pubsub/accepted" },
  ],
  ...{ key: undefined, scope: "target", windowMs: 24 * 3_600_000, mode: undefined },
  ...{ inFlight: "wait", waitTimeoutMs: 60_000, onFailure: "forget", fingerprint: "body" },
  failureStatus: [{ from: 500, to: 599 }],
  ...{ atomicWith: "statestore", storedBodyBytesMax: 1 << 20 },
} satisfies IdempotencySpec);

const subscriptions = ["paid", "accepted"].map((topic) =>
  resource("Subscription", {
    ...{ pubsubname: "pubsub", topic, rules: [], defaultPath: `/${topic}` },
    ...{ metadata: {}, deadLetterTopic: "", bulkSubscribe: undefined },
  } satisfies SubscriptionSpec),
);
