import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import etcd from "../../src/components/lock/etcd.ts";
import { componentHost } from "./component-host.ts";
import { startEtcd, type TestEtcd } from "./etcd.ts";
import { lockContract } from "./lock.ts";
import { rejection } from "./state.ts";

let server: TestEtcd;
let rounds = 0;
beforeAll(async () => {
  server = await startEtcd();
}, 300_000);
afterAll(() => server.stop());

const open = async (items: Record<string, string> = {}) =>
  etcd.open(server.options(etcd, items), componentHost());

lockContract("lock.etcd", async () => {
  const locks = await open({ keyPrefixPath: `round ${rounds++}/` });
  return { locks, close: () => locks.close() };
});

describe("lock.etcd", () => {
  test("is one lock for all runtimes, and goes to a member that is there", async () => {
    const one = await open();
    const other = await open({ endpoints: `127.0.0.1:1,127.0.0.1:${server.server.port}` });
    expect(await one.tryLock("orders", "me", 30)).toBePositive();
    expect(await other.tryLock("orders", "you", 30)).toBeUndefined();
    expect(await other.unlock("orders", "me")).toBe("success");
    for (const each of [one, other]) await each.close();
  });

  test("refuses what it can not keep, and addresses that are none", async () => {
    const locks = await open();
    expect(String(await rejection(locks.tryLock("\ud800", "me", 1)))).toContain("resourceId");
    await locks.close();
    for (const endpoints of ["https://a:1", "a:99999", ","])
      expect(String(await rejection(open({ endpoints })))).toContain("endpoints");
  });
});
