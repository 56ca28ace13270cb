import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../../edges/clock.ts";
import type { IdempotencySpec } from "../../resource/resource.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { CloudEvent } from "../pubsub/cloud-event.ts";
import { type Outcome, success } from "../pubsub/outcome.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { SubscriptionGuard } from "./event-guard.ts";
import { compileKey } from "./key.ts";
import { Records } from "./records.ts";
import { spacesOf } from "./spaces.ts";

const log: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  fatal: () => {},
  scope: () => log,
};
const retry: Outcome = { kind: "retry", reason: "no" };
const spec: IdempotencySpec = {
  targets: [],
  key: undefined,
  scope: "target",
  windowMs: 60_000,
  mode: undefined,
  inFlight: "reject",
  waitTimeoutMs: 0,
  onFailure: "forget",
  failureStatus: [],
  fingerprint: "body",
  atomicWith: "statestore",
  storedBodyBytesMax: 1024,
};

let folder = "";
let store: Store;
let records: Records;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-guard-"));
  store = await openSqliteStore({ folder });
  records = new Records({ store, clock: realClock, log, lease: "a" });
});
afterEach(async () => {
  await records.close();
  await store.close();
  await rm(folder, { recursive: true });
});

async function guardBy(key?: string): Promise<SubscriptionGuard> {
  const keyOf = key === undefined ? undefined : await compileKey([key]);
  return new SubscriptionGuard(
    { name: "once", spec, keyOf },
    {
      records,
      log,
      spaceOf: spacesOf({ namespace: "", appId: "a" }),
      subscription: "pubsub/t",
      mutationsOf: () => [{ kind: "append", topic: "effects", message: { data: new Uint8Array([1]) } }],
    },
  );
}

const event = (id: string, data: unknown = 1) =>
  new CloudEvent(Buffer.from(JSON.stringify({ id, source: "s", data })));

test("in a bulk only the new ones go to the app, each one is settled by itself", async () => {
  const guard = await guardBy();
  const handed: string[][] = [];
  const bulk = (ids: string[], failing: string[] = []) =>
    guard.deliverBulk(
      ids.map((id) => ({ event: event(id) })),
      async (entries) => {
        const names = entries.map((entry) => entry.event.text("id"));
        handed.push(names);
        return names.map((id) => (failing.includes(id) ? retry : success));
      },
    );
  expect(await bulk(["a", "b"], ["b"])).toEqual([success, retry]);
  expect((await bulk(["a", "b", "c", "c"])).map(({ kind }) => kind)).toEqual([
    "success",
    "success",
    "success",
    "retry",
  ]);
  expect(await bulk(["a", "b", "c"])).toEqual([success, success, success]);
  expect(handed).toEqual([
    ["a", "b"],
    ["b", "c"],
  ]);
});

test("a failed or thrown delivery leaves the key free, an expression can be the key", async () => {
  const guard = await guardBy("event.data");
  let calls = 0;
  const deliver = (id: string, outcome: () => Outcome) =>
    guard.deliver(event(id, "order 7"), async () => {
      calls++;
      return outcome();
    });
  expect(await deliver("1", () => retry)).toEqual(retry);
  const broken = deliver("2", () => {
    throw new Error("the stream ended");
  });
  // Not `rejects`: it waits without letting the store's thread answer.
  expect(await broken.catch((error: Error) => error.message)).toBe("the stream ended");
  expect(await deliver("3", () => success)).toEqual(success);
  expect(await deliver("4", () => retry)).toEqual(success);
  expect(calls).toBe(3);
});

test("effects are applied with the record, and those that are no effects come again", async () => {
  const guard = await guardBy();
  const answer = (body: string) => guard.deliver(event("e"), (effects) => effects(Buffer.from(body)));
  const effects = async () => (await store.topicStats("effects"))[0]?.messages ?? 0;
  expect(await answer('{"stat":[]}')).toMatchObject({ kind: "retry" });
  expect(await effects()).toBe(0);
  expect(await answer("{}")).toEqual(success);
  expect(await answer("{}")).toEqual(success);
  expect(await effects()).toBe(1);
});
