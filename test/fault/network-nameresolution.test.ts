// Name resolvers that send datagrams, on a network that fails (reliability.md §4.6).
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { FoundAddress, NameResolver } from "../../src/component/name-resolver.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { withinTime } from "../../src/component/within-time.ts";
import kubernetes from "../../src/components/nameresolution/kubernetes.ts";
import mdns from "../../src/components/nameresolution/mdns.ts";
import { realClock } from "../../src/edges/clock.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { type DnsServer, startDns } from "../contract/dns-server.ts";
import { freeUdpPort } from "../contract/free-udp-port.ts";
import { addressesOf, wanted } from "../contract/name-resolver.ts";
import { backMs } from "./back-within.ts";
import { openSockets } from "./open-sockets.ts";
import { MulticastBridge, UdpProxy } from "./udp-proxy.ts";

const healMs = 20_000;
const cycles = 200;
/** How soon a lookup ends, on a machine with much else to do. */
const answerMs = 3 * backMs;
const orders = wanted("orders");

/** What a lookup comes to within its time: addresses, none, or a typed error. */
async function ended(resolver: NameResolver): Promise<readonly FoundAddress[] | ServerUnavailable> {
  const found = await withinTime(realClock, answerMs, resolver.find(orders)).catch((error: unknown) => error);
  if (found instanceof Error) expect(found).toBeInstanceOf(ServerUnavailable);
  return found as readonly FoundAddress[] | ServerUnavailable;
}

async function isFound(resolver: NameResolver, address: string): Promise<boolean> {
  const found = await ended(resolver);
  return !(found instanceof Error) && found.some(({ host, port }) => `${host}:${port}` === address);
}

describe("nameresolution.kubernetes on a bad network", () => {
  const pod = "10.1.0.7:50002";
  let server: DnsServer;
  let proxy: UdpProxy;
  let resolver: NameResolver;
  const open = () => {
    const options = { clusterDomain: "cluster.local", template: undefined };
    return kubernetes.open({ ...options, dnsServer: `127.0.0.1:${proxy.port}` }, componentHost());
  };
  beforeAll(async () => {
    server = await startDns({ "orders-dapr.default.svc.cluster.local": ["10.1.0.7"] });
  });
  beforeEach(async () => {
    proxy = await UdpProxy.before(server.port);
    resolver = await open();
  });
  afterEach(async () => {
    await resolver.close();
    await proxy.down();
  });
  afterAll(() => server.close());
  const back = () => until(() => isFound(resolver, pod), "it is back", backMs);

  test("late, doubled and out of order: the same answer", async () => {
    proxy.line.set({ latency: { ms: 60, jitterMs: 50 }, doubledPercent: 50 });
    for (let round = 0; round < 20; round++) await until(() => isFound(resolver, pod), "it is found", healMs);
  }, 60_000);

  test("a datagram that is lost is sent again", async () => {
    proxy.line.dropNext(1);
    expect(await addressesOf(resolver, orders)).toEqual([pod]);
    proxy.line.set({ lostPercent: 20 });
    for (let round = 0; round < 3; round++) await until(() => isFound(resolver, pod), "it is found", healMs);
  }, 90_000);

  test("a black hole: a typed error in time, and it goes on when it is healed", async () => {
    expect(await addressesOf(resolver, orders)).toEqual([pod]);
    proxy.line.set({ blackHole: true });
    const all = await Promise.all(Array.from({ length: 20 }, () => ended(resolver)));
    for (const one of all) expect(one).toBeInstanceOf(ServerUnavailable);
    proxy.line.set({});
    await back();
  }, 60_000);

  test("a server that is away and comes back: back without a restart", async () => {
    expect(await addressesOf(resolver, orders)).toEqual([pod]);
    await proxy.down();
    expect(await ended(resolver)).toBeInstanceOf(ServerUnavailable);
    await proxy.up();
    await back();
  }, 60_000);

  test(`${cycles} times opened, asked and closed: no socket is left`, async () => {
    await back();
    const before = openSockets();
    for (let cycle = 0; cycle < cycles; cycle++) {
      proxy.line.set({ blackHole: cycle % 50 === 0 });
      const opened = await open();
      const finding = ended(opened);
      if (cycle % 2 === 0) await opened.close();
      await finding;
      await opened.close();
    }
    proxy.line.set({});
    await until(() => openSockets() <= before + 2, "the sockets are closed", healMs);
  }, 120_000);
});

describe("nameresolution.mdns on a bad network", () => {
  const runtime = "127.0.0.1:7001";
  const self = { host: "127.0.0.1", port: 7001, httpPort: 1, appPort: 1 };
  let bridge: MulticastBridge;
  let nearPort: number;
  let farPort: number;
  let far: NameResolver;
  let near: NameResolver;
  const openAt = (port: number, ttl = 1_000) =>
    mdns.open({ interfaces: ["127.0.0.1"], port, ttl }, componentHost());
  beforeEach(async () => {
    nearPort = await freeUdpPort();
    farPort = await freeUdpPort();
    bridge = await MulticastBridge.between(nearPort, farPort);
    [near, far] = [await openAt(nearPort), await openAt(farPort)];
  });
  afterEach(async () => {
    await Promise.all([near.close(), far.close()]);
    await bridge.close();
  });
  const announce = () => near.announce?.({ ...self, appId: "orders", namespace: "default" });

  test("late, doubled and out of order: found once", async () => {
    bridge.line.set({ latency: { ms: 40, jitterMs: 30 }, doubledPercent: 50 });
    await announce();
    await until(() => isFound(far, runtime), "it is found", healMs);
    expect(await addressesOf(far, orders)).toEqual([runtime]);
  }, 60_000);

  test("a question that is lost is asked again", async () => {
    await near.close();
    near = await openAt(nearPort, 60_000);
    bridge.line.set({ blackHole: true });
    await announce();
    await until(() => bridge.line.seen >= 2, "it has told of itself for now", healMs);
    bridge.line.set({});
    const lostOnce = (): Promise<boolean> => {
      bridge.line.dropNext(1);
      return isFound(far, runtime);
    };
    await until(lostOnce, "it is found", backMs);
  }, 60_000);

  test("a black hole: nobody is found in time, and it goes on when it is healed", async () => {
    await announce();
    await until(() => isFound(far, runtime), "it is found", healMs);
    bridge.line.set({ blackHole: true });
    await until(async () => !(await isFound(far, runtime)), "it is forgotten after its ttl", healMs);
    const all = await Promise.all(Array.from({ length: 20 }, () => ended(far)));
    expect(all).toEqual(Array(20).fill([]));
    bridge.line.set({});
    await until(() => isFound(far, runtime), "it is back", backMs);
  }, 60_000);

  test("a third of all datagrams is lost: who is there is found, and who has left is forgotten", async () => {
    bridge.line.set({ lostPercent: 33 });
    const announcement = await announce();
    for (let round = 0; round < 10; round++) await until(() => isFound(far, runtime), "it is found", healMs);
    await announcement?.close();
    await until(async () => !(await isFound(far, runtime)), "it is forgotten", healMs);
  }, 60_000);

  test(`${cycles} times opened, asked and closed: no socket is left`, async () => {
    await announce();
    await until(() => isFound(far, runtime), "it is found", healMs);
    const before = openSockets();
    for (let cycle = 0; cycle < cycles; cycle++) {
      bridge.line.set({ blackHole: cycle % 50 === 0 });
      const opened = await openAt(farPort);
      const finding = ended(opened);
      if (cycle % 2 === 0) await opened.close();
      await finding;
      await opened.close();
    }
    await until(() => openSockets() <= before, "the sockets are closed", healMs);
  }, 120_000);
});
