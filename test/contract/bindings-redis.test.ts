import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import redis from "../../src/components/bindings/redis.ts";
import { componentHost } from "./component-host.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { rejection } from "./state.ts";

let server: TestRedis;
let binding: Binding;
beforeAll(async () => {
  server = await startRedis();
  binding = await redis.open(server.options(redis), componentHost());
});
afterAll(async () => {
  await binding.close();
  await server.stop();
});

const invoke = async (operation: string, metadata: Record<string, string>, data = "") =>
  binding.invoke?.({ operation, metadata, data: Buffer.from(data, "latin1") });
const textAt = async (metadata: Record<string, string>) => {
  const reply = await invoke("get", metadata);
  return reply?.data && Buffer.from(reply.data).toString("latin1");
};

test("sets, gets, takes, deletes and counts", async () => {
  await invoke("create", { key: "a" }, "\x00\xff text");
  expect(await textAt({ key: "a" })).toBe("\x00\xff text");
  expect(await textAt({ key: "a", delete: "true" })).toBe("\x00\xff text");
  expect(await textAt({ key: "a" })).toBeUndefined();
  for (let count = 0; count < 3; count++) await invoke("increment", { key: "n", ttlInSeconds: "60" });
  expect(await textAt({ key: "n" })).toBe("3");
  await invoke("delete", { key: "n" });
  expect(await textAt({ key: "n" })).toBeUndefined();
});

test("gives keys their time", async () => {
  await invoke("create", { key: "short", ttlInSeconds: "100" }, "x");
  const other = await server.connect();
  expect(Number(await other.read("TTL", "short"))).toBeGreaterThan(90);
  await other.close();
});

test("what can not be is refused, and changes nothing", async () => {
  const cases: [string, Record<string, string>, string][] = [
    ["get", {}, "redis binding: missing key in request metadata"],
    ["list", { key: "a" }, "invalid operation type: list"],
    ["create", { key: "bad", ttlInSeconds: "soon" }, 'ttlInSeconds is "soon"'],
  ];
  for (const [operation, metadata, message] of cases)
    expect(String(await rejection(invoke(operation, metadata)))).toContain(message);
  expect(await textAt({ key: "bad" })).toBeUndefined();
});
