import { afterAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { CryptoProvider } from "../../src/component/crypto-provider.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import jwksComponent from "../../src/components/crypto/dapr.jwks.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { SimulatedClock } from "../../src/edges/simulated.ts";
import { componentHost, eventually, temporaryFolder } from "./component-host.ts";
import { cryptoContract, type Jwks, testKeys } from "./crypto.ts";

const setOf = (jwks: Jwks): string =>
  JSON.stringify({ keys: Object.entries(jwks).map(([kid, jwk]) => ({ kid, ...jwk })) });
const clock = new SimulatedClock();
const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

async function open(jwks: string, requestTimeout = 5_000): Promise<CryptoProvider> {
  const options = { jwks, requestTimeout, minRefreshInterval: 60_000 };
  const provider = await jwksComponent.open(options, componentHost({ edges: { ...realEdges(), clock } }));
  closers.push(() => provider.close());
  return provider;
}

const keys = testKeys();
// Without the kid, which the public part tells: the suite compares its members.
cryptoContract("crypto.dapr.jwks", keys, async (jwks) => {
  const provider = withoutKid(await open(setOf(jwks)));
  return { provider, close: () => provider.close() };
});

function withoutKid(provider: CryptoProvider): CryptoProvider {
  const getKey: CryptoProvider["getKey"] = async (name) => {
    const { pem, jwk } = await provider.getKey(name);
    const { kid, ...rest } = jwk;
    expect(kid).toBe(name);
    return { pem, jwk: rest };
  };
  return new Proxy(provider, {
    get: (target, name) => (name === "getKey" ? getKey : Reflect.get(target, name, target)?.bind(target)),
  });
}

const secret = () => ({ kty: "oct", k: randomBytes(32).toString("base64url") });
const use = (keyName: string) => ({
  ...{ keyName, algorithm: "A256KW", nonce: new Uint8Array(0), associatedData: new Uint8Array(0) },
});
const has = (provider: CryptoProvider, name: string): Promise<boolean> =>
  provider.wrapKey(new Uint8Array(32), use(name)).then(
    () => true,
    () => false,
  );

/** An address of keys that can be changed, broken and watched. */
async function keyServer(jwks: Jwks) {
  const state = { body: setOf(jwks), status: 200, isSilent: false, requests: 0 };
  const server = createServer((_request, response) => {
    state.requests++;
    if (state.isSilent) return;
    response.writeHead(state.status, { "content-type": "application/json" }).end(state.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { state, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks` };
}

describe("crypto.dapr.jwks", () => {
  test("takes the set in base64 too, and the first of two keys of a name", async () => {
    const [first, second] = [secret(), secret()];
    const set = JSON.stringify({ keys: [{ kid: "a", ...first }, { kid: "a", ...second }, { ...secret() }] });
    const provider = await open(Buffer.from(set).toString("base64"));
    const wrapped = await provider.wrapKey(randomBytes(32), use("a"));
    const other = await open(setOf({ a: first }));
    expect(await other.unwrapKey(wrapped, use("a"))).toHaveLength(32);
  });

  test("reads a file, and again when it was replaced; half a file changes nothing", async () => {
    const folder = await temporaryFolder();
    closers.push(folder.remove);
    const path = join(folder.path, "keys.json");
    await writeFile(path, setOf({ a: secret() }));
    const provider = await open(path);
    expect([await has(provider, "a"), await has(provider, "b")]).toEqual([true, false]);
    await writeFile(path, '{"keys":[{"kid":"b","kt');
    expect([await has(provider, "a"), await has(provider, "b")]).toEqual([true, false]);
    await writeFile(`${path}.new`, setOf({ b: secret() }));
    await rename(`${path}.new`, path);
    expect([await has(provider, "a"), await has(provider, "b")]).toEqual([false, true]);
  });

  test("asks a URL once, and again for a key that it does not know, but not for each call", async () => {
    const { state, url } = await keyServer({ a: secret() });
    const provider = await open(url);
    for (let i = 0; i < 20; i++) expect(await has(provider, "a")).toBe(true);
    expect(state.requests).toBe(1);
    state.body = setOf({ b: secret() });
    for (let i = 0; i < 20; i++) expect(await has(provider, "b")).toBe(false);
    expect(state.requests).toBe(1);
    clock.advance(10_000);
    expect(await Promise.all([has(provider, "b"), has(provider, "b")])).toEqual([true, true]);
    expect(state.requests).toBe(2);
  });

  test("renews the keys behind the calls, and keeps the good ones while the URL fails", async () => {
    const { state, url } = await keyServer({ a: secret() });
    const provider = await open(url);
    state.status = 500;
    clock.advance(60_000);
    expect(await has(provider, "a")).toBe(true);
    await eventually("it was asked", () => state.requests === 2);
    expect(await has(provider, "a")).toBe(true);
    state.status = 200;
    state.body = setOf({ b: secret() });
    clock.advance(60_000);
    await eventually("the new key is there", () => has(provider, "b"));
    expect(await has(provider, "a")).toBe(false);
  });

  test("a key that nobody knows is not missing while the URL is away: nobody can say so", async () => {
    const { state, url } = await keyServer({ a: secret() });
    const provider = await open(url);
    clock.advance(10_000);
    state.isSilent = true;
    const wrapping = provider.wrapKey(new Uint8Array(32), use("b")).catch((reason: unknown) => reason);
    await eventually("it was asked", () => state.requests === 2);
    clock.advance(5_000);
    expect(await wrapping).toBeInstanceOf(ServerUnavailable);
    expect(await has(provider, "a")).toBe(true);
    state.isSilent = false;
    state.body = setOf({ b: secret() });
    clock.advance(1_000);
    expect(await has(provider, "b")).toBe(true);
  });

  test("never shows what may hold secrets", () => {
    expect(jwksComponent.metadata.jwks.isSensitive).toBe(true);
  });

  test("gives up on a silent URL after its time, and says which", async () => {
    const { state, url } = await keyServer({});
    state.isSilent = true;
    const opening = open(url, 5_000).catch((reason: unknown) => reason);
    await eventually("it was asked", () => state.requests === 1);
    clock.advance(5_000);
    const error = await opening;
    expect(error).toBeInstanceOf(ServerUnavailable);
    expect((error as Error).message).toStartWith(`${url} could not be reached`);
  });

  test.each([
    ["nothing-here", "neither JSON nor a URL nor a file"],
    ['{"keys":1}', 'jwks holds no set of keys: it has to be {"keys": […]}'],
    ['{"keys":[{"k":"c2VjcmV0', "jwks is neither a URL nor a readable file nor JSON"],
  ])("refuses %p, telling nothing of it", async (jwks, why) => {
    const message = await open(jwks).catch((error: Error) => error.message);
    expect(message).toContain(why);
    expect(message).not.toContain("c2VjcmV0");
  });
});
