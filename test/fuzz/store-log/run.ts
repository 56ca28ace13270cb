import { expect } from "bun:test";
import type { Random } from "../../../src/edges/random.ts";
import { SimulatedClock } from "../../../src/edges/simulated.ts";
import {
  type Delivery,
  type NewMessage,
  type Store,
  StoreConflict,
} from "../../../src/engine/store/store.ts";
import { LogModel } from "./model.ts";

const stepsPerRun = 250;

/** A store of its own for each run. */
export interface LogHome {
  open(clock: SimulatedClock): Promise<Store>;
  check(): Promise<string[]>;
  remove(): Promise<void>;
}

interface World {
  random: Random;
  clock: SimulatedClock;
  model: LogModel;
  store: Store;
  home: LogHome;
  /** Claims handed out, stale ones too. */
  held: { group: string; delivery: Delivery }[];
  label: string;
}

/** Random work on a store and on the model; they must agree at each step. */
export async function runOnce(random: Random, label: string, home: LogHome): Promise<void> {
  const clock = new SimulatedClock();
  const store = await home.open(clock);
  const world: World = { random, clock, model: new LogModel(), store, home, held: [], label };
  try {
    await step(world, 0);
    for (let count = 0; count < stepsPerRun; count++) await step(world, random.next());
    await drain(world);
    expect(await home.check()).toEqual([]);
  } finally {
    await world.store.close();
    await home.remove();
  }
}

async function step(world: World, choice: number): Promise<void> {
  if (choice < 0.02) return addGroup(world);
  if (choice < 0.35) return append(world);
  if (choice < 0.6) return claim(world);
  if (choice < 0.8) return settle(world);
  if (choice < 0.82) return reopen(world);
  world.clock.advance(pick(world, [1, 20, 200, 6000]));
}

async function addGroup({ store, model, random }: World): Promise<void> {
  const from = random.next() < 0.6 ? "earliest" : "latest";
  const group = `g${Math.floor(random.next() * 3)}`;
  // Handled messages are gone when a group comes late: the model knows only groups that came before any message.
  if (model.groups.length > 0 && from === "earliest") return;
  await store.ensureGroup("t", group, from);
  model.addGroup(group, from);
}

async function append({ store, model, random, clock }: World): Promise<void> {
  const count = 1 + Math.floor(random.next() * 4);
  const messages = Array.from({ length: count }, (): NewMessage => {
    const message: NewMessage = { data: random.bytes(4) };
    if (random.next() < 0.5) message.orderKey = `key ${Math.floor(random.next() * 3)}`;
    if (random.next() < 0.2) message.notBeforeMs = clock.now() + random.next() * 300;
    if (random.next() < 0.2) message.expiresAtMs = clock.now() + random.next() * 400;
    return message;
  });
  const outcomes = await store.commit(messages.map((message) => ({ kind: "append", topic: "t", message })));
  messages.forEach((message, index) => {
    model.append(outcomes[index]?.offset ?? 0, message);
  });
}

async function claim(world: World): Promise<void> {
  const { store, model, clock, held, label } = world;
  const group = pick(world, model.groups.length > 0 ? model.groups : ["none"]);
  if (group === "none") return;
  const max = pick(world, [1, 3, 50]);
  const leaseMs = pick(world, [10, 100, 1000]);
  const expected = model.claimable(group, clock.now());
  const deliveries = await store.claim({ topic: "t", group, owner: "o", max, leaseMs, waitMs: 0 });
  const offsets = deliveries.map((delivery) => delivery.offset);
  expect(offsets, label).toEqual(expected.slice(0, max));
  for (const delivery of deliveries) {
    expect(delivery.expired ?? false, label).toBe(model.isExpired(delivery.offset, clock.now()));
    model.claimed(group, delivery, clock.now() + leaseMs);
    expect(delivery.attempt, label).toBe(model.attempt(group, delivery.offset));
    held.push({ group, delivery });
  }
}

async function settle(world: World): Promise<void> {
  const { store, model, clock, held, random, label } = world;
  const index = Math.floor(random.next() * held.length);
  const [claimed] = held.slice(index, index + 1);
  if (!claimed) return;
  const { group, delivery } = claimed;
  const owns = model.owns(group, delivery);
  const choice = random.next();
  if (choice < 0.6) {
    const refused = await store.commit([{ kind: "ack", delivery }]).then(
      () => false,
      (error: unknown) => error instanceof StoreConflict,
    );
    expect(refused, label).toBe(!owns);
    if (owns) model.ack(group, delivery.offset);
  } else if (choice < 0.85) {
    const delayMs = pick(world, [0, 30, 500]);
    const untried = random.next() < 0.3;
    expect(await store.nack(delivery, delayMs, { untried }), label).toBe(owns);
    if (owns) model.giveBack(group, delivery.offset, clock.now() + delayMs, untried);
  } else {
    expect(await store.extend([delivery], 300), label).toHaveLength(owns ? 1 : 0);
    if (owns) model.extend(group, delivery.offset, clock.now() + 300);
  }
}

async function reopen(world: World): Promise<void> {
  await world.store.close();
  world.store = await world.home.open(world.clock);
}

/** Everything comes in the end, and is counted until then. */
async function drain(world: World): Promise<void> {
  const { store, model, clock, label } = world;
  for (const group of model.groups) {
    const stats = (await store.topicStats("t"))[0]?.groups.find((other) => other.group === group);
    expect((stats?.pending ?? 0) + (stats?.inFlight ?? 0), label).toBe(model.unhandled(group));
    while (model.unhandled(group) > 0) {
      clock.advance(10_000);
      const deliveries = await store.claim({
        topic: "t",
        group,
        owner: "o",
        max: 50,
        leaseMs: 10,
        waitMs: 0,
      });
      expect(deliveries.length, label).toBeGreaterThan(0);
      await store.commit(deliveries.map((delivery) => ({ kind: "ack", delivery })));
      for (const delivery of deliveries) model.ack(group, delivery.offset);
    }
  }
}

function pick<T>({ random }: World, choices: readonly T[]): T {
  const choice = choices[Math.floor(random.next() * choices.length)];
  if (choice === undefined) throw new Error("nothing to choose from");
  return choice;
}
