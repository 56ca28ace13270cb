import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import etcd from "../../src/components/configuration/etcd.ts";
import { TcpProxy } from "../fault/tcp-proxy.ts";
import { componentHost, eventually } from "./component-host.ts";
import { configurationContract, type OpenedConfiguration } from "./configuration.ts";
import { startEtcd, type TestEtcd } from "./etcd.ts";

let server: TestEtcd;
let rounds = 0;
beforeAll(async () => {
  server = await startEtcd();
}, 300_000);
afterAll(() => server.stop());

async function open(more: Record<string, string> = {}): Promise<OpenedConfiguration> {
  const keyPrefixPath = `app-${rounds++}`;
  const items = await etcd.open(server.options(etcd, { keyPrefixPath, ...more }), componentHost());
  return {
    items,
    async set(values) {
      for (const [key, value] of Object.entries(values)) await server.put(`${keyPrefixPath}/${key}`, value);
    },
    async delete(keys) {
      for (const key of keys) await server.delete(`${keyPrefixPath}/${key}`);
    },
    close: () => items.close(),
  };
}

configurationContract("configuration.etcd", () => open());

describe("configuration.etcd", () => {
  const listen = async ({ items }: OpenedConfiguration, keys: string[] = []) => {
    const seen: Record<string, string> = {};
    await items.subscribe(keys, {}, (changed) => {
      for (const [key, { value }] of Object.entries(changed)) seen[key] = value;
    });
    return seen;
  };

  test("reads more items than a transaction of etcd may have, and keeps out what only looks alike", async () => {
    const opened = await open({ keyPrefixPath: "many" });
    const names = Array.from({ length: 300 }, (_, index) => `key-${index}`);
    await Promise.all(names.map((name) => server.put(`many/${name}`, name)));
    await server.put("many0", "no");
    expect(Object.keys(await opened.items.get(names, {}))).toHaveLength(300);
    expect(Object.keys(await opened.items.get([], {}))).toHaveLength(300);
    await opened.close();
  });

  test("tells of what changed while the server was away, and of what comes after", async () => {
    const opened = await open({ timeout: "2s" });
    await opened.set({ kept: "1", changed: "1", gone: "1" });
    const seen = await listen(opened);
    await server.server.kill();
    await server.server.start();
    await opened.set({ changed: "2" });
    await opened.delete(["gone"]);
    await eventually("it is told", () => seen.changed === "2" && seen.gone === "");
    await opened.set({ fresh: "1" });
    await eventually("what comes after is told", () => seen.fresh === "1");
    expect(seen).toEqual({ changed: "2", gone: "", fresh: "1" });
    await opened.close();
  });

  test("tells of what changed when etcd has compacted the changes away", async () => {
    const proxy = await TcpProxy.before(server.server.port);
    const opened = await open({ timeout: "1s", endpoints: `127.0.0.1:${proxy.port}` });
    await opened.set({ changed: "1", gone: "1" });
    const seen = await listen(opened);
    await proxy.down();
    await opened.set({ changed: "2", other: "1" });
    await opened.delete(["gone"]);
    const { header } = (await server.ask("kv/range", { key: "AA==" })) as { header?: { revision?: string } };
    await server.ask("kv/compaction", { revision: header?.revision ?? "", physical: true });
    await proxy.up();
    await eventually("it is told", () => seen.changed === "2" && seen.gone === "" && seen.other === "1");
    await opened.set({ changed: "3" });
    await eventually("what comes after is told", () => seen.changed === "3");
    await opened.close();
    await proxy.close();
  });

  test("tells of each change of a key, however many come at once", async () => {
    const proxy = await TcpProxy.before(server.server.port);
    const opened = await open({ timeout: "1s", endpoints: `127.0.0.1:${proxy.port}` });
    const seen: string[] = [];
    await opened.items.subscribe(["key"], {}, ({ key }) => void seen.push(key?.value ?? ""));
    await proxy.down();
    for (const value of ["1", "2", "3"]) await opened.set({ key: value });
    await opened.delete(["key"]);
    await proxy.up();
    await eventually("all is told", () => seen.length >= 4);
    expect(seen).toEqual(["1", "2", "3", ""]);
    await opened.close();
    await proxy.close();
  });

  test("tells of what is not as before when the store begins anew", async () => {
    const opened = await open({ timeout: "2s" });
    await opened.set({ gone: "1", changed: "1" });
    const seen = await listen(opened);
    await server.server.kill();
    rmSync(join(server.server.folder, "data"), { recursive: true });
    await server.server.start();
    await opened.set({ changed: "2" });
    await eventually("it is told", () => seen.changed === "2" && seen.gone === "");
    await opened.set({ fresh: "1" });
    await eventually("what comes after is told", () => seen.fresh === "1");
    await opened.close();
  });
});
