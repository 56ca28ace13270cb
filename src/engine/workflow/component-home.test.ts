import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BulkEntry,
  EtagMismatch,
  type StateEntry,
  type StateOperation,
} from "../../component/state-store.ts";
import { SimulatedClock, simulatedEdges } from "../../edges/simulated.ts";
import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import { recordedTelemetry } from "../pubsub/fixture-parts.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Delivery, Mutation, Store } from "../store/store.ts";
import { StoreConflict } from "../store/store.ts";
import { Commits } from "./commits.ts";
import { ComponentHome } from "./component-home.ts";
import { makeEvent } from "./events.ts";
import { Facts } from "./facts.ts";
import type { TurnSave } from "./home.ts";
import type { Instance } from "./instance.ts";
import type { InstanceStore } from "./instance-store.ts";
import { decodeMetadata, encodeMetadata } from "./metadata-row.ts";
import { activityTopic, inboxTopic, propagatedSpace, recordSpace, workers } from "./names.ts";
import { propagatedKey } from "./propagation.ts";
import type { InstanceRecord } from "./record.ts";
import { Stalled } from "./turn.ts";

const app = { namespace: "", appId: "shop" };
const prefix = "shop||dapr.internal.default.shop.workflow||a||";
const edges = simulatedEdges(1);
let folder: string;
let store: Store;
let rows: Rows;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-home-"));
  store = await openSqliteStore({ folder, clock: new SimulatedClock() });
  for (const topic of [inboxTopic(app), activityTopic(app)])
    await store.ensureGroup(topic, workers, "earliest");
  rows = new Rows();
});

afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

type Failure = "before" | "after" | undefined;

/** A state store that can fail, before it has done what it was asked to or after. */
class Rows implements InstanceStore {
  readonly name = "mine";
  operationsMax: number | undefined;
  failsNext: Failure;
  readonly values = new Map<string, StateEntry>();
  #etags = 0;

  async get({ key }: { key: string }): Promise<StateEntry | undefined> {
    return this.values.get(key);
  }

  async bulkGet(requests: readonly { key: string }[]): Promise<BulkEntry[]> {
    return requests.flatMap(({ key }) => {
      const entry = this.values.get(key);
      return entry ? [{ key, ...entry }] : [];
    });
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    const failure = this.failsNext;
    this.failsNext = undefined;
    if (failure === "before") throw new Error("the connection broke");
    for (const { kind, request } of operations) {
      const found = this.values.get(request.key)?.etag;
      if (request.etag !== undefined && request.etag !== found) throw new EtagMismatch();
      const isFirst =
        kind === "upsert" && request.concurrency === "first-write" && request.etag === undefined;
      if (isFirst && found !== undefined) throw new EtagMismatch();
    }
    for (const { kind, request } of operations) {
      if (kind === "delete") this.values.delete(request.key);
      else this.values.set(request.key, { value: request.value, etag: String(++this.#etags) });
    }
    if (failure === "after") throw new Error("the answer was lost");
  }

  async keysLike() {
    return { keys: [...this.values.keys()].filter((key) => key.endsWith("||metadata")) };
  }
}

function homeOn(engine: Store): ComponentHome {
  const { log } = recordedTelemetry();
  return new ComponentHome({ app, store: engine, commits: new Commits(engine), edges, log, instances: rows });
}

/** The engine's store of a process that dies before its next commit. */
function dying(): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === "commit") {
        return (mutations: Mutation[]) => {
          const isTurn = mutations.some(({ kind }) => kind === "ack");
          return isTurn ? Promise.reject(new Error("killed")) : store.commit(mutations);
        };
      }
      const member = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

const record: InstanceRecord = {
  name: "steps",
  status: Status.RUNNING,
  executionId: "x",
  createdMs: 1,
  updatedMs: 1,
};

function started(): Instance {
  return { id: "a", record, etag: "", history: [], facts: new Facts(), bytes: 0, isNew: true };
}

const event = (name: string) => makeEvent(1, { case: "eventRaised", value: { name } }).bytes;

async function send(...names: string[]): Promise<void> {
  await store.commit(
    names.map((name) => ({
      kind: "append",
      topic: inboxTopic(app),
      message: { data: event(name), orderKey: "a", headers: { i: "a" } },
    })),
  );
}

function claim(topic = inboxTopic(app), leaseMs = 0): Promise<Delivery[]> {
  return store.claim({ topic, group: workers, owner: "o", max: 10, leaseMs, waitMs: 0, together: true });
}

const activity: Mutation = { kind: "append", topic: activityTopic(app), message: { data: event("work") } };

function turn(instance: Instance, deliveries: Delivery[], more: Partial<TurnSave> = {}): TurnSave {
  const events = deliveries.map(({ data }) => data);
  const all = { events, isNewHistory: false, mutations: [activity] };
  return { instance, record: instance.record, deliveries, ...all, ...more };
}

const activities = async (): Promise<number> => (await claim(activityTopic(app), 60_000)).length;
const etagOf = (name: string) => rows.values.get(prefix + name)?.etag;

test("a turn is rows in Dapr's layout and one commit of the engine's store", async () => {
  await send("one", "two");
  const home = homeOn(store);
  await home.save(turn(started(), await claim(undefined, 60_000)));
  expect([...rows.values.keys()].map((key) => key.slice(prefix.length))).toEqual([
    "history-000000",
    "history-000001",
    "customStatus",
    "metadata",
  ]);
  const metadata = rows.values.get(`${prefix}metadata`)?.value as Uint8Array;
  expect(decodeMetadata(metadata)).toMatchObject({ inboxLength: 0, historyLength: 2, generation: 1 });
  // The lengths as Dapr's tools read them: field 2 and 3 are numbers.
  expect([...metadata.slice(0, 4)]).toEqual([0x10, 2, 0x18, 1]);
  expect(await home.history("a")).toEqual([event("one"), event("two")]);
  expect((await home.read("a"))?.record.executionId).toBe("x");
  expect(await activities()).toBe(1);
  expect(await claim()).toEqual([]);
});

for (const failure of ["after", "killed"] as const) {
  test(`what a saved turn decided is made up for once when the engine did not hear of it (${failure})`, async () => {
    await send("one", "two");
    const first = turn(started(), await claim());
    if (failure === "after") rows.failsNext = "after";
    const dead = failure === "after" ? homeOn(store) : homeOn(dying());
    expect(await dead.save(first).catch((error) => error)).toBeInstanceOf(Error);
    expect(await activities()).toBe(0);
    const home = homeOn(store);
    // Clients see the saved turn already.
    expect((await home.read("a"))?.record.status).toBe(Status.RUNNING);
    const instance = (await home.load("a")) as Instance;
    expect(instance.history).toEqual([event("one"), event("two")]);
    expect(await activities()).toBe(1);
    // Its messages come again, one by one: they are known.
    const [one, two] = instance.record.home?.unacked ?? [];
    const again = await claim(undefined, 60_000);
    expect(again.map(({ offset }) => offset)).toEqual([one as number]);
    await home.dismiss(instance, again, []);
    const later = (await home.load("a")) as Instance;
    expect(later.record.home?.unacked).toEqual([two as number]);
    await send("three");
    const rest = await claim(undefined, 60_000);
    expect(rest[0]?.offset).toBe(two);
    const events = rest.slice(1).map(({ data }) => data);
    await home.save(turn(later, rest, { events, mutations: [] }));
    expect((await home.load("a"))?.record.home?.unacked).toBeUndefined();
    expect(await home.history("a")).toEqual([event("one"), event("two"), ...events]);
    expect(await activities()).toBe(0);
  });
}

test("a turn that the state store did not take leaves nothing", async () => {
  await send("one");
  rows.failsNext = "before";
  const home = homeOn(store);
  const saved = home.save(turn(started(), await claim()));
  expect(await saved.catch((error: Error) => error.message)).toBe("the connection broke");
  expect([rows.values.size, await activities()]).toEqual([0, 0]);
  expect(await home.load("a")).toBeUndefined();
  expect((await claim()).length).toBe(1);
});

test("of two runtimes that go on with the same turn one wins", async () => {
  await send("one");
  const deliveries = await claim(undefined, 60_000);
  const [first, second] = [homeOn(store), homeOn(store)];
  await first.save(turn(started(), deliveries));
  const [mine, theirs] = [await first.load("a"), await second.load("a")];
  await first.save(turn(mine as Instance, [], { events: [event("two")] }));
  const late = second.save(turn(theirs as Instance, [], { events: [event("other")] }));
  expect(await late.catch((error) => error)).toBeInstanceOf(StoreConflict);
  expect(await second.history("a")).toEqual([event("one"), event("two")]);
  expect(await activities()).toBe(2);
  // What a runtime kept of its own last turn is compared with the rows.
  expect((await second.load("a", theirs))?.history).toEqual([event("one"), event("two")]);
});

test("a history that starts anew takes the place of the old rows", async () => {
  await send("one", "two", "three");
  const home = homeOn(store);
  await home.save(turn(started(), await claim(undefined, 60_000)));
  const instance = (await home.load("a")) as Instance;
  await home.save(turn(instance, [], { events: [event("new")], isNewHistory: true }));
  expect(await home.history("a")).toEqual([event("new")]);
  expect(etagOf("history-000001")).toBeUndefined();
  const { generation } = decodeMetadata(rows.values.get(`${prefix}metadata`)?.value as Uint8Array);
  expect(generation).toBe(2);
  await home.remove("a");
  expect([...rows.values.keys()]).toEqual([]);
});

test("a turn with more rows than the store takes at once stands still", async () => {
  await send("one", "two");
  rows.operationsMax = 3;
  const save = homeOn(store).save(turn(started(), await claim()));
  const error = await save.catch((reason) => reason);
  expect(error).toBeInstanceOf(Stalled);
  expect(error.message).toBe(
    "PAYLOAD_SIZE_EXCEEDED: the turn changes 4 rows, and the state store mine takes 3 in a transaction",
  );
  expect(rows.values.size).toBe(0);
});

test("a record without its rows is no instance", async () => {
  await send("one");
  const home = homeOn(store);
  await home.save(turn(started(), await claim(undefined, 60_000)));
  rows.values.clear();
  expect(await home.read("a")).toBeUndefined();
  expect(await home.load("a")).toBeUndefined();
  // Its place is free.
  await home.save(turn(started(), []));
  expect((await home.read("a"))?.record.name).toBe("steps");
});

/** The engine's store of somebody else, who has the same state store. */
async function withOtherEngine(work: (other: Store) => Promise<void>): Promise<void> {
  const otherFolder = mkdtempSync(join(tmpdir(), "mecha-home-"));
  const other = await openSqliteStore({ folder: otherFolder, clock: new SimulatedClock() });
  for (const topic of [inboxTopic(app), activityTopic(app)])
    await other.ensureGroup(topic, workers, "earliest");
  await work(other);
  await other.close();
  rmSync(otherFolder, { recursive: true, force: true });
}

test("rows of another engine's store are shown, and taken over by who goes on with them", async () => {
  const scheduled = makeEvent(1, { case: "taskScheduled", value: { name: "work" } }, { eventId: 1 });
  const start = makeEvent(1, { case: "executionStarted", value: { name: "steps", input: "7" } });
  await withOtherEngine(async (other) => {
    const events = [start.bytes, scheduled.bytes];
    await homeOn(other).save(turn(started(), [], { events }));
  });
  const home = homeOn(store);
  expect((await home.read("a"))?.record.status).toBe(Status.RUNNING);
  // Starting the id anew, or a look at it, takes nothing away from them.
  expect((await home.settle("a"))?.record.status).toBe(Status.RUNNING);
  expect(await activities()).toBe(0);
  expect((await home.load("a"))?.history.length).toBe(2);
  expect(await activities()).toBe(1);
});

test("lengths that can not be are refused", () => {
  const row = encodeMetadata({ historyLength: 2_000_000, generation: 1 });
  expect(() => decodeMetadata(row)).toThrow("tells of 2000000 rows");
  const old = new TextEncoder().encode('{"InboxLength":1,"HistoryLength":2,"Generation":3}');
  expect(decodeMetadata(old)).toMatchObject({ inboxLength: 1, historyLength: 2, generation: 3 });
});

test("an engine's store that was set back gets the open steps again", async () => {
  const scheduled = (id: number) =>
    makeEvent(1, { case: "taskScheduled", value: { name: "work" } }, { eventId: id }).bytes;
  const start = makeEvent(1, { case: "executionStarted", value: { name: "steps" } }).bytes;
  const home = homeOn(store);
  await home.save(turn(started(), [], { events: [start], mutations: [] }));
  const space = recordSpace(app);
  const before = await store.get(space, "a");
  for (const id of [1, 2]) {
    const instance = (await home.load("a")) as Instance;
    await home.save(turn(instance, [], { events: [scheduled(id)], mutations: [] }));
  }
  await store.commit([{ kind: "put", space, key: "a", value: before?.value ?? new Uint8Array(0) }]);
  expect((await home.load("a"))?.history.length).toBe(3);
  expect(await activities()).toBe(2);
});

test("a history that was handed on is a row, and comes along when the instance is taken over", async () => {
  const handed = new Uint8Array([8, 1]);
  const key = propagatedKey("a", "x");
  await store.commit([{ kind: "put", space: propagatedSpace(app), key, value: handed }]);
  const instance = { ...started(), record: { ...record, propagated: true as const } };
  const start = makeEvent(1, { case: "executionStarted", value: { name: "steps" } }).bytes;
  await homeOn(store).save(turn(instance, [], { events: [start] }));
  expect(rows.values.get(`${prefix}propagated-history`)?.value).toEqual(handed);
  await withOtherEngine(async (other) => {
    expect((await homeOn(other).load("a"))?.record.propagated).toBe(true);
    expect((await other.get(propagatedSpace(app), key))?.value).toEqual(handed);
  });
  // The next execution is handed nothing.
  const next = (await homeOn(store).load("a")) as Instance;
  const { propagated: _, ...plain } = next.record;
  await homeOn(store).save(turn(next, [], { record: plain, events: [start], isNewHistory: true }));
  expect(rows.values.has(`${prefix}propagated-history`)).toBe(false);
});
