import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  currentComponentReference,
  renderComponentReference,
  unexplainedGaps,
} from "../../scripts/component-reference.ts";
import { ComponentSuites } from "../../scripts/component-suites.ts";
import memory from "../../src/components/state/in-memory.ts";
import { componentHost } from "./component-host.ts";

test("the reference of components is what the components say", async () => {
  expect(currentComponentReference(), "run `bun scripts/component-reference.ts`").toEqual(
    await renderComponentReference(),
  );
});

test("every component has its contract, fault and network suite, or a reason; no reason is out of date", async () => {
  expect(await unexplainedGaps()).toEqual({ missing: [], stale: [] });
});

test("every suite that the reference links to is there", async () => {
  const { page } = currentComponentReference();
  const folder = resolve(import.meta.dirname, "../../docs/reference");
  const links = [...page.matchAll(/\]\((\.\.\/[^)]+)\)/g)].map(([, link = ""]) => link);
  expect(links.length).toBeGreaterThan(50);
  expect(links.filter((link) => !existsSync(join(folder, link)))).toEqual([]);
});

test("suites are found by the component that a test imports and names, versions apart", () => {
  const suites = new ComponentSuites();
  expect(suites.of("state.redis", "v1")).toMatchObject({
    contract: ["test/contract/state-redis.test.ts"],
    crash: ["test/fault/state-redis-crash.test.ts"],
    network: ["test/fault/network-half-minute.test.ts", "test/fault/network-state-redis.test.ts"],
  });
  // Both are opened by one file, and by v1 alone another.
  const both = "test/fault/network-state-postgresql.test.ts";
  expect(suites.of("state.postgresql", "v2").network).toEqual([both]);
  expect(suites.of("state.postgresql", "v1").network).toEqual([
    "test/fault/network-half-minute.test.ts",
    both,
  ]);
  expect(suites.of("pubsub.mqtt5", "v1").contract).toEqual(["test/contract/pubsub-mqtt.test.ts"]);
  expect(suites.of("state.mongodb", "v1").contract).toEqual(["test/contract/state-mongodb.test.ts"]);
  expect(suites.of("state.mongodb", "v1").crash).toEqual(["test/fault/state-mongodb-crash.test.ts"]);
  const faults = ["test/fault/lock-redis.test.ts"];
  expect(suites.of("lock.redis", "v1")).toMatchObject({ crash: faults, network: faults });
  expect(suites.of("lock.mecha", "v1").contract).toEqual(["test/contract/lock.test.ts"]);
});

test("capabilities are those of the opened component", async () => {
  const suites = new ComponentSuites();
  const store = await memory.open({}, componentHost());
  expect(suites.of("state.in-memory", "v1").capabilities).toEqual([...store.features]);
  await store.close();
  expect(suites.of("state.mongodb", "v1").capabilities).toContain("TRANSACTIONAL");
  expect(suites.of("bindings.kafka", "v1").capabilities).toEqual(["INPUT_BINDING", "OUTPUT_BINDING"]);
  expect(suites.of("bindings.mysql", "v1").capabilities).toEqual(["OUTPUT_BINDING"]);
  // Two components of one shared file.
  expect(suites.of("pubsub.mqtt3", "v1").capabilities).toEqual(["SUBSCRIBE_WILDCARDS"]);
  expect(suites.of("pubsub.mqtt5", "v1").capabilities).toEqual(["SUBSCRIBE_WILDCARDS", "MESSAGE_TTL"]);
});
