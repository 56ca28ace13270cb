// What every name resolver must do (reliability.md §2.9).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { AnnouncedRuntime, NameResolver, WantedApp } from "../../src/component/name-resolver.ts";
import { realClock } from "../../src/edges/clock.ts";
import { type Edges, realEdges } from "../../src/edges/edges.ts";
import { eventually } from "./component-host.ts";

export interface OpenedResolvers {
  /** The resolver of one more runtime. */
  join(edges: Edges): Promise<NameResolver>;
  /** An app that needs no announcement, and where it is. */
  known?: { app: WantedApp; addresses: string[] };
  close(): Promise<void>;
}

export interface ResolverTraits {
  /** Whether runtimes tell of themselves. */
  announces: boolean;
  /** Every app has an address, whether it runs or not. */
  knowsAll?: boolean;
  /** How long after its end a runtime that was killed may be found. */
  goneWithinMs?: number;
}

export const wanted = (appId: string, namespace = "default"): WantedApp => ({
  appId,
  namespace,
  port: 50_002,
});

export function nameResolverContract(
  name: string,
  traits: ResolverTraits,
  open: () => Promise<OpenedResolvers>,
): void {
  describe(name, () => {
    let opened: OpenedResolvers;
    const resolvers: NameResolver[] = [];
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      for (const resolver of resolvers.splice(0)) await resolver.close();
      await opened.close();
    });
    const join: Join = async (edges = realEdges()) => {
      const resolver = await opened.join(edges);
      resolvers.push(resolver);
      return resolver;
    };

    test("finds what is known without a word", async () => {
      const { known } = opened;
      if (known === undefined) return;
      expect((await addressesOf(await join(), known.app)).sort()).toEqual([...known.addresses].sort());
    });

    test("an id can not lead anywhere else", async () => {
      const resolver = await join();
      for (const id of [
        "a.b.evil.example:80/",
        "a@evil.example",
        "a:1",
        "%2e",
        "",
        " ",
        "a\u0000b",
        "'; --",
        "[::1]",
      ])
        expect([id, await resolver.find(wanted(id))]).toEqual([id, []]);
    });

    if (!traits.knowsAll)
      test("nobody is found for an app that nobody knows", async () => {
        expect(await (await join()).find(wanted("nobody"))).toEqual([]);
      });

    test("has a bound for how long its answers are used, and may be closed", async () => {
      const resolver = await join();
      expect(resolver.freshMs).toBeWithin(1, 120_001);
      await resolver.close();
      resolvers.length = 0;
    });

    if (traits.announces) announcing(join, traits);
  });
}

type Join = (edges?: Edges) => Promise<NameResolver>;

function announcing(join: Join, { goneWithinMs = 10_000 }: ResolverTraits): void {
  test("finds a runtime that others have announced, by its app and namespace", async () => {
    const [one, two] = [await join(), await join()];
    await one.announce?.(runtime(7001));
    await two.announce?.(runtime(7002, "shop"));
    await found(two, wanted("orders"), ["127.0.0.1:7001"]);
    await found(one, wanted("shop"), ["127.0.0.1:7002"]);
    await found(two, wanted("orders", "other"), []);
    await found(one, wanted("Orders"), []);
  });

  test("finds all instances of an app, IPv6 among them", async () => {
    const joined = await Promise.all([join(), join(), join()]);
    const hosts = ["127.0.0.1", "127.0.0.2", "::1"];
    await Promise.all(joined.map((one, index) => one.announce?.(runtime(7001, "orders", hosts[index]))));
    await found(await join(), wanted("orders"), ["127.0.0.1:7001", "127.0.0.2:7001", "::1:7001"]);
  });

  test("an announcement that is taken back is not found any more", async () => {
    const [one, two] = [await join(), await join()];
    const announcement = await one.announce?.(runtime(7001));
    await two.announce?.(runtime(7002));
    await found(two, wanted("orders"), ["127.0.0.1:7001", "127.0.0.1:7002"]);
    await announcement?.close();
    await found(two, wanted("orders"), ["127.0.0.1:7002"]);
  });

  test("a runtime stays while it lives, and goes when nothing is heard of it", async () => {
    const { edges, stop } = mortal();
    const [one, two] = [await join(edges), await join()];
    await one.announce?.(runtime(7001));
    await two.announce?.(runtime(7002));
    const both = ["127.0.0.1:7001", "127.0.0.1:7002"];
    await found(two, wanted("orders"), both);
    stop();
    await eventually(
      "it is gone",
      async () => (await addressesOf(two, wanted("orders"))).join() === both[1],
      goneWithinMs,
    );
    expect(await addressesOf(two, wanted("orders"))).toEqual(["127.0.0.1:7002"]);
  });

  test("a runtime that takes an address over is the one that is found there", async () => {
    const { edges, stop } = mortal();
    const [one, two] = [await join(edges), await join()];
    await one.announce?.(runtime(7001, "orders"));
    stop();
    await two.announce?.(runtime(7001, "shop"));
    await found(two, wanted("shop"), ["127.0.0.1:7001"]);
    await eventually(
      "the old is gone",
      async () => (await two.find(wanted("orders"))).length === 0,
      goneWithinMs,
    );
  });

  test("many look at once", async () => {
    const one = await join();
    await one.announce?.(runtime(7001));
    await found(one, wanted("orders"), ["127.0.0.1:7001"]);
    const answers = await Promise.all(Array.from({ length: 100 }, () => addressesOf(one, wanted("orders"))));
    expect(new Set(answers.flat())).toEqual(new Set(["127.0.0.1:7001"]));
  });
}

function runtime(port: number, appId = "orders", host = "127.0.0.1"): AnnouncedRuntime {
  return { appId, namespace: "default", host, port, httpPort: port + 1000, appPort: 3000 };
}

export async function addressesOf(resolver: NameResolver, app: WantedApp): Promise<string[]> {
  const nowMs = Date.now();
  const addresses = await resolver.find(app);
  return addresses
    .filter(({ expiresAtMs = Number.POSITIVE_INFINITY }) => expiresAtMs > nowMs)
    .map(({ host, port }) => `${host}:${port}`)
    .sort();
}

async function found(resolver: NameResolver, app: WantedApp, addresses: string[]): Promise<void> {
  let last: string[] = [];
  await eventually(`${app.appId} at ${addresses}`, async () => {
    last = await addressesOf(resolver, app);
    return last.join() === addresses.join();
  }).catch((error: Error) => {
    throw new Error(`${error.message}; found ${last.join()}`);
  });
}

/** A process that can be killed: no timer of it fires any more. */
function mortal(): { edges: Edges; stop(): void } {
  let isDead = false;
  const clock: Edges["clock"] = {
    ...realClock,
    setTimer: (delayMs, callback, options) =>
      realClock.setTimer(delayMs, () => isDead || callback(), options),
  };
  return {
    edges: { ...realEdges(), clock },
    stop() {
      isDead = true;
    },
  };
}
