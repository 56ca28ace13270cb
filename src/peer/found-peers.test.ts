import { expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type FoundPeer, FoundPeers, type PeerFinder } from "./found-peers.ts";
import { LocalTargets } from "./local-targets.ts";
import { type Instance, type Registry, suspicionMs } from "./registry.ts";
import { SharedSecret } from "./shared-secret.ts";

const ignore = (): void => {};
const orders = { appId: "orders", namespace: "default" };
const ofRegistry = [{ instanceId: "of the registry" }] as unknown as Instance[];

function setup(answers: (FoundPeer[] | Error)[] = []) {
  const clock = new SimulatedClock();
  const asked: string[] = [];
  const suspected: Instance[] = [];
  const warnings: string[] = [];
  const log: Log = {
    ...{ debug: ignore, info: ignore, error: ignore, fatal: ignore, scope: () => log },
    warn: (_, text) => void warnings.push(text),
  };
  const registry = {
    local: new LocalTargets(),
    resolve: () => ofRegistry,
    hintFor: () => "hint of the registry",
    suspect: (instance: Instance) => void suspected.push(instance),
  } as unknown as Registry;
  const finder: PeerFinder = {
    name: "sqlite",
    freshMs: 500,
    async find({ appId }) {
      asked.push(appId);
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer instanceof Error) throw answer;
      return answer ?? [];
    },
  };
  const peers = new FoundPeers({
    ...{ registry, clock, log, security: undefined },
    secret: new SharedSecret(() => ["of all"], clock),
    principal: { appId: "shop", namespace: "default" },
    trustDomain: () => "public",
  });
  return { clock, asked, suspected, warnings, peers, finder };
}
const at = (port: number, expiresAtMs?: number): FoundPeer => ({ host: "127.0.0.1", port, expiresAtMs });
const portsOf = (instances: readonly Instance[]): number[] => instances.map(({ port }) => port);

/** Time passes until it is settled. */
async function settled<T>(clock: SimulatedClock, work: T | Promise<T>): Promise<T> {
  let isOver = false;
  const done = Promise.resolve(work).finally(() => {
    isOver = true;
  });
  done.catch(ignore);
  for (let step = 0; step < 100 && !isOver; step++) {
    await clock.advance(10);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return done;
}

test("without a finder peers are those of the registry", () => {
  const { peers, suspected } = setup();
  expect(peers.resolve(orders)).toBe(ofRegistry);
  expect(peers.hintFor(orders)).toBe("hint of the registry");
  peers.suspect(ofRegistry[0] as Instance);
  expect(suspected).toEqual(ofRegistry);
});

test("what was found costs no look while it is fresh, and the list stays the same", async () => {
  const { peers, finder, clock, asked } = setup([[at(1), at(2)]]);
  peers.use(finder);
  const first = await settled(clock, peers.resolve(orders));
  expect(portsOf(first)).toEqual([1, 2]);
  expect(peers.resolve(orders)).toBe(first);
  await clock.advance(501);
  expect(await settled(clock, peers.resolve(orders))).toBe(first);
  expect(asked).toHaveLength(2);
});

test("calls that come together share a look", async () => {
  const { peers, finder, clock, asked } = setup([[at(1)]]);
  peers.use(finder);
  await settled(clock, Promise.all(Array.from({ length: 20 }, () => peers.resolve(orders))));
  expect(asked).toHaveLength(1);
});

test("an instance is gone when its time is over, before anybody looks again", async () => {
  const { peers, finder, clock } = setup();
  finder.find = async () => [at(1, clock.now() + 10_000), at(2, clock.now() + 100)];
  peers.use({ ...finder, freshMs: 60_000 });
  expect(portsOf(await settled(clock, peers.resolve(orders)))).toEqual([1, 2]);
  await clock.advance(200);
  expect(portsOf(await peers.resolve(orders))).toEqual([1]);
});

test("an unknown app is asked for again, and found when it has started meanwhile", async () => {
  const { peers, finder, clock, asked } = setup([[], [], [at(1)]]);
  peers.use(finder);
  expect(portsOf(await settled(clock, peers.resolve(orders)))).toEqual([1]);
  expect(asked).toHaveLength(3);
  const other = setup();
  other.peers.use(other.finder);
  expect(await settled(other.clock, other.peers.resolve(orders))).toEqual([]);
  expect(other.asked).toHaveLength(6);
  expect(other.peers.hintFor(orders)).toContain("spec.nameResolution is sqlite: is default/orders running");
});

test("an old list is used at once, and a new one looked for behind the call", async () => {
  const { peers, finder, clock, asked } = setup([[at(1)], [at(1), at(2)]]);
  peers.use(finder);
  await settled(clock, peers.resolve(orders));
  await clock.advance(501);
  expect(portsOf((await peers.resolve(orders)) as Instance[])).toEqual([1]);
  await settled(clock, undefined);
  expect(portsOf(peers.resolve(orders) as Instance[])).toEqual([1, 2]);
  await clock.advance(11_000);
  expect(peers.resolve(orders)).toBeInstanceOf(Promise);
  expect(asked).toHaveLength(3);
});

test("while looks fail what was found before holds, and no call waits; where there is nothing it is told", async () => {
  const { peers, finder, clock, warnings } = setup([[at(1)], new Error("the disk is gone")]);
  peers.use(finder);
  await settled(clock, peers.resolve(orders));
  for (let second = 0; second < 60; second++) {
    await clock.advance(1000);
    expect(portsOf(peers.resolve(orders) as Instance[])).toEqual([1]);
    await settled(clock, undefined);
  }
  expect(warnings).toEqual(["name resolution by sqlite failed; what it found before is used"]);
  const other = setup([new Error("the disk is gone")]);
  other.peers.use(other.finder);
  const error = await settled(other.clock, Promise.resolve(other.peers.resolve(orders))).catch(
    (why: Error) => why,
  );
  expect(error).toMatchObject({
    message: "failed to resolve address for 'orders': the disk is gone",
    hint: "spec.nameResolution is sqlite",
  });
});

test("nobody is forgotten at once by who could not be asked a moment ago, but whom no call reached", async () => {
  for (const isReached of [true, false]) {
    const { peers, finder, clock } = setup([[at(1)], new Error("away"), []]);
    peers.use(finder);
    const [instance] = await settled(clock, peers.resolve(orders));
    const later = async (): Promise<readonly Instance[]> => {
      await clock.advance(501);
      const answer = await settled(clock, peers.resolve(orders));
      await settled(clock, undefined);
      return answer;
    };
    expect(portsOf(await later())).toEqual([1]);
    if (!isReached) peers.suspect(instance as Instance);
    for (let times = 0; times < 5; times++) expect(portsOf(await later())).toEqual(isReached ? [1] : []);
    await clock.advance(11_000);
    expect(await later()).toEqual([]);
  }
});

test("an instance that was not reached is avoided for a while, and looked for again", async () => {
  const { peers, finder, clock, asked } = setup([[at(1)]]);
  peers.use(finder);
  const [instance] = await settled(clock, peers.resolve(orders));
  peers.suspect(instance as Instance);
  expect(instance?.suspectUntilMs).toBe(clock.monotonicMs() + suspicionMs);
  const [again] = await settled(clock, peers.resolve(orders));
  expect([asked.length, again === instance]).toEqual([2, true]);
});

test("what another finder has found is forgotten", async () => {
  const { peers, finder, clock } = setup([[at(1)]]);
  peers.use(finder);
  await settled(clock, peers.resolve(orders));
  peers.use({ ...finder, find: async () => [at(9)] });
  expect(portsOf(await settled(clock, peers.resolve(orders)))).toEqual([9]);
  peers.use(undefined);
  expect(peers.resolve(orders)).toBe(ofRegistry);
});

test("what is shown to an instance changes with the minutes, not with each call", async () => {
  const { peers, finder, clock } = setup([[at(1)]]);
  peers.use(finder);
  const [instance] = await settled(clock, peers.resolve(orders));
  const shown = instance?.token;
  expect(instance?.token).toBe(shown as string);
  await clock.advance(60_000);
  expect(instance?.token).not.toBe(shown as string);
});

test("names are remembered up to a bound", async () => {
  const { peers, finder, clock, asked } = setup([[at(1)]]);
  peers.use({ ...finder, freshMs: 1e9 });
  for (let app = 0; app < 1001; app++) await peers.resolve({ ...orders, appId: `app${app}` });
  asked.length = 0;
  await settled(clock, peers.resolve({ ...orders, appId: "app1000" }));
  expect(asked).toEqual([]);
  await settled(clock, peers.resolve({ ...orders, appId: "app0" }));
  expect(asked).toEqual(["app0"]);
});
