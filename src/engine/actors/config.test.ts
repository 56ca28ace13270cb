import { expect, test } from "bun:test";
import { readActorConfig } from "./config.ts";

test("types have the shared settings, or their own", () => {
  const types = readActorConfig({
    entities: ["Cat", "Dog"],
    actorIdleTimeout: "10s",
    drainOngoingCallTimeout: "1m",
    drainRebalancedActors: false,
    reentrancy: { enabled: true, maxStackDepth: 5 },
    remindersStoragePartitions: 7,
    entitiesConfig: [{ entities: ["Dog", "Fish"], actorIdleTimeout: "1h", reentrancy: { enabled: false } }],
  });
  expect([...types.keys()]).toEqual(["Cat", "Dog"]);
  expect(types.get("Cat")).toEqual({
    idleTimeoutMs: 10_000,
    drainTimeoutMs: 60_000,
    drainsRebalanced: false,
    reentrancy: { isEnabled: true, depthMax: 5 },
  });
  expect(types.get("Dog")).toMatchObject({ idleTimeoutMs: 3_600_000, reentrancy: { isEnabled: false } });
});

test("an app without actors has none; nonsense is refused", () => {
  expect(readActorConfig({}).size).toBe(0);
  for (const answer of [null, [], { entities: "Cat" }, { entities: ["Cat"], actorIdleTimeout: "soon" }]) {
    expect(() => readActorConfig(answer)).toThrow();
  }
});
