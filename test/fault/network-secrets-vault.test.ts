import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { SecretStore } from "../../src/component/secret-store.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import definition from "../../src/components/secretstores/hashicorp.vault.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { rejection } from "../contract/state.ts";
import { startVault, type VaultServer } from "../contract/vault-server.ts";
import { answered } from "./answered.ts";
import { isDone } from "./is-done.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const healMs = 10_000;

describe("secretstores.hashicorp.vault on a bad network", () => {
  let vault: VaultServer;
  let proxy: TcpProxy;
  let secrets: SecretStore;
  beforeEach(async () => {
    vault = await startVault();
    for (let number = 0; number < 20; number++) vault.put(`dapr/s${number}`, `{"v":"${"x".repeat(2_000)}"}`);
    proxy = await TcpProxy.before(vault.port);
    const fields = Object.entries(definition.metadata).map(([name, { default: value }]) => [name, value]);
    const given = { vaultAddr: `http://127.0.0.1:${proxy.port}`, vaultToken: "root", timeout: 1_000 };
    secrets = await definition.open({ ...Object.fromEntries(fields), ...given }, componentHost());
  });
  afterEach(async () => {
    proxy.set({});
    await secrets.close();
    await proxy.close();
    vault.close();
  });
  const one = async () => (await secrets.get("s1", {})).v?.length;

  test("latency and small pieces: every secret whole", async () => {
    proxy.set({ latency: { ms: 50, jitterMs: 20 }, slicer: { bytesMax: 64 } });
    const all = await answered(() => secrets.bulkGet({}));
    expect(Object.values(all).map(({ v }) => v?.length)).toEqual(Array(20).fill(2_000));
  });

  test("a frozen server: a typed error in time, then it goes on", async () => {
    expect(await answered(one)).toBe(2_000);
    proxy.set({ blackHole: true });
    const errors = await Promise.all(Array.from({ length: 50 }, () => rejection(one())));
    for (const error of errors) {
      expect(error).toBeInstanceOf(ServerUnavailable);
      expect((error as ServerUnavailable).outcome).toBe("undone");
    }
    expect(await rejection(secrets.bulkGet({}))).toBeInstanceOf(ServerUnavailable);
    proxy.set({});
    await until(() => isDone(one()), "it is back", healMs);
  });

  test("half-open connections, resets, a server that is away and comes back", async () => {
    expect(await answered(one)).toBe(2_000);
    proxy.halfOpen();
    const halfOpen = await one().catch((error: unknown) => error);
    if (halfOpen !== 2_000) expect(halfOpen).toBeInstanceOf(ServerUnavailable);
    await until(() => isDone(one()), "it is back", healMs);
    proxy.reset();
    await until(() => isDone(one()), "it is back", healMs);
    await proxy.down();
    expect(await rejection(one())).toBeInstanceOf(ServerUnavailable);
    await proxy.up();
    await until(() => isDone(one()), "it is back", healMs);
  });

  test("what waits when it is closed is refused at once", async () => {
    proxy.set({ blackHole: true });
    const waiting = rejection(one());
    await until(() => proxy.open > 0, "it has connected", healMs);
    await secrets.close();
    expect(await waiting).toBeInstanceOf(Error);
  });
});
