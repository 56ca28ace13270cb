import { afterEach, expect, test } from "bun:test";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { type CachedPair, startPair } from "./cache-fixture.ts";

let pair: CachedPair | undefined;
afterEach(async () => {
  await pair?.stop();
  pair = undefined;
});

/** Answers when it is let, with the number of the request. */
function heldApp(headers: Record<string, string>) {
  const held = Promise.withResolvers<void>();
  let asked = 0;
  const answer = async () => {
    const body = String(++asked);
    await held.promise;
    return { headers, body };
  };
  return { answer, letGo: held.resolve };
}

interface Got {
  text: string;
  status: string;
}

/** Lets the app answer when so many requests are on their way to it. */
async function atOnce(count: number, headers: Record<string, string>, spec: object): Promise<Got[]> {
  const { answer, letGo } = heldApp(headers);
  pair = await startPair(spec, answer);
  const address = { host: "127.0.0.1", port: pair.mecha.ports("shop").http };
  const client = createHttpClient({ maxSocketsPerAddress: count + 1 });
  const get = async (target: string): Promise<Got> => {
    const response = await client.request(address, { method: "GET", target, headers: [] });
    const bytes = await response.body.bytes(1000);
    return { text: Buffer.from(bytes).toString(), status: response.header("cache-status") ?? "" };
  };
  const replies = Array.from({ length: count }, () => get("/v1.0/invoke/orders/method/x"));
  // Comes to the runtime behind them.
  await get("/v1.0/healthz");
  letGo();
  const all = await Promise.all(replies);
  client.close();
  return all;
}

test("a thousand misses at once are one call of the app", async () => {
  const got = await atOnce(1000, {}, { cache: { ttl: "1m" }, collapse: { singleFlight: true } });
  expect(new Set(got.map(({ text }) => text))).toEqual(new Set(["1"]));
  expect(got.filter(({ status }) => status.includes("collapsed")).length).toBeGreaterThan(1);
  expect(pair?.orders.requests.length).toBe(1);
}, 30_000);

test("without a cache equal reads in flight share a call, and the next is a new one", async () => {
  const got = await atOnce(100, {}, { collapse: { singleFlight: true } });
  const calls = pair?.orders.requests.length ?? 0;
  expect(calls).toBeLessThan(100);
  expect(new Set(got.map(({ text }) => text)).size).toBe(calls);
  await pair?.get("/x");
  expect(pair?.orders.requests.length).toBe(calls + 1);
});

test("a cookie of one caller is not given to those who waited", async () => {
  const got = await atOnce(20, { "Set-Cookie": "who=me" }, { collapse: { singleFlight: true } });
  expect(new Set(got.map(({ text }) => text)).size).toBe(20);
});
