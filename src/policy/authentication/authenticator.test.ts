import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";
import type { Clock } from "../../edges/clock.ts";
import { realClock } from "../../edges/clock.ts";
import type { JwtRule } from "../../resource/authentication.ts";
import { Authenticator, claimValues, TokenRefused } from "./authenticator.ts";
import type { TokenBearer } from "./tokens.ts";

const issuer = "https://issuer.example";
const good = await generateKeyPair("RS256", { extractable: true });
const other = await generateKeyPair("RS256", { extractable: true });
const publicJwk: JWK = { ...(await exportJWK(good.publicKey)), kid: "a", alg: "RS256" };
const jwks = JSON.stringify({ keys: [publicJwk] });
const nowS = Math.floor(Date.now() / 1000);

function rule(changes: Partial<JwtRule> = {}): JwtRule {
  return {
    ...{ issuer, audiences: [], jwksUri: "", jwks, fromHeaders: [], fromParams: [], fromCookies: [] },
    ...{ outputPayloadToHeader: "", outputClaimToHeaders: [], forwardOriginalToken: false, timeoutMs: 1000 },
    ...changes,
  };
}

interface TokenParts {
  key?: CryptoKey;
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
}

function token({ key = good.privateKey, header = {}, claims = {} }: TokenParts = {}): Promise<string> {
  const payload = { iss: issuer, sub: "ann", exp: nowS + 600, ...claims };
  return new SignJWT(payload).setProtectedHeader({ alg: "RS256", kid: "a", ...header }).sign(key);
}

function bearer(
  value: string | undefined,
  more: Partial<Record<string, string[]>> = {},
  query = "",
): TokenBearer {
  const authorization = value === undefined ? [] : [`Bearer ${value}`];
  const lines: Partial<Record<string, string[]>> = { authorization, ...more };
  return { query, headers: (name) => lines[name] ?? [] };
}

const noAsk = async (): Promise<never> => {
  throw new Error("not asked for");
};

function authenticate(from: TokenBearer, rules = [rule()]) {
  return Promise.resolve(new Authenticator(rules, noAsk, realClock).authenticate(from)).catch((e) => e);
}

const subjectOf = async (from: TokenBearer, rules?: JwtRule[]) =>
  ((await authenticate(from, rules)) as { claims?: { sub?: string } }).claims?.sub;

test("a good token says who calls, and does not go on", async () => {
  const identity = await authenticate(bearer(await token()));
  expect(identity.claims.sub).toBe("ann");
  expect([...identity.remove]).toEqual(["authorization"]);
  const kept = await authenticate(bearer(await token()), [rule({ forwardOriginalToken: true })]);
  expect([...kept.remove]).toEqual([]);
});

test("without a token nothing is said, and nothing waited for", () => {
  const identity = new Authenticator([rule()], noAsk, realClock).authenticate(bearer(undefined));
  expect(identity).toMatchObject({ claims: {}, add: [] });
  const basic = { query: "", headers: () => ["Basic eDp5"] };
  expect(new Authenticator([rule()], noAsk, realClock).authenticate(basic)).toMatchObject({ claims: {} });
});

const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const plainClaims = { iss: issuer, sub: "ann", exp: nowS + 600 };

async function hmacWithPublicKey(): Promise<string> {
  const signed = `${base64({ alg: "HS256", kid: "a" })}.${base64(plainClaims)}`;
  const mac = createHmac("sha256", await exportSPKI(good.publicKey))
    .update(signed)
    .digest("base64url");
  return `${signed}.${mac}`;
}

const [head, body, signature] = (await token()).split(".") as [string, string, string];
const bad: [string, string][] = [
  ["none", `${base64({ alg: "none" })}.${base64(plainClaims)}.`],
  ["none, in other letters", `${base64({ alg: "nOnE", kid: "a" })}.${base64(plainClaims)}.`],
  ["none with a signature", `${base64({ alg: "none", kid: "a" })}.${body}.${signature}`],
  ["the public key as a secret", await hmacWithPublicKey()],
  ["another key under the known name", await token({ key: other.privateKey })],
  ["another algorithm in the head", `${base64({ alg: "RS512", kid: "a" })}.${body}.${signature}`],
  [
    "a key of its own",
    await token({ key: other.privateKey, header: { jwk: await exportJWK(other.publicKey) } }),
  ],
  [
    "an address of keys",
    await token({ key: other.privateKey, header: { jku: "https://evil.example/keys" } }),
  ],
  ["a key name with a path", await token({ key: other.privateKey, header: { kid: "../../a" } })],
  ["a key name that nobody has", await token({ header: { kid: "b" } })],
  ["changed claims", `${head}.${base64({ ...plainClaims, sub: "root" })}.${signature}`],
  ["no signature", `${head}.${body}.`],
  ["a short signature", `${head}.${body}.${signature.slice(0, 20)}`],
  ["two parts", `${head}.${body}`],
  ["four parts", `${head}.${body}.${signature}.x`],
  ["nothing", ""],
  ["no token at all", "abc"],
  ["an end 61 s ago", await token({ claims: { exp: nowS - 65 } })],
  ["a beginning in 65 s", await token({ claims: { nbf: nowS + 70 } })],
  ["an end that is no number", await token({ claims: { exp: "tomorrow" } })],
  ["another issuer", await token({ claims: { iss: "https://else.example" } })],
  ["an issuer with a slash more", await token({ claims: { iss: `${issuer}/` } })],
  ["no issuer", await token({ claims: { iss: undefined } })],
  ["a list of issuers", await token({ claims: { iss: [issuer] } })],
  ["an unknown crit", `${base64({ alg: "RS256", kid: "a", crit: ["x"], x: 1 })}.${body}.${signature}`],
  ["too many bytes", `${head}.${body}.${"A".repeat(20_000)}`],
];
test.each(bad)("a token with %s is refused", async (_, value) => {
  expect(await authenticate(bearer(value))).toBeInstanceOf(TokenRefused);
});

test("clocks may differ by a minute", async () => {
  expect(await subjectOf(bearer(await token({ claims: { exp: nowS - 30 } })))).toBe("ann");
  expect(await subjectOf(bearer(await token({ claims: { nbf: nowS + 30 } })))).toBe("ann");
});

test("one of the audiences has to be the token's", async () => {
  const rules = [rule({ audiences: ["orders", "shop"] })];
  expect(await subjectOf(bearer(await token({ claims: { aud: ["x", "shop"] } })), rules)).toBe("ann");
  for (const aud of ["x", "shops", undefined]) {
    expect(await authenticate(bearer(await token({ claims: { aud } })), rules)).toBeInstanceOf(TokenRefused);
  }
});

test("tokens are looked for where the rule says, and nowhere else", async () => {
  const value = await token();
  const rules = [
    rule({
      fromHeaders: [{ name: "x-token", prefix: "jwt " }],
      fromParams: ["t"],
      fromCookies: ["session"],
    }),
  ];
  expect(await subjectOf(bearer(undefined, { "x-token": [`jwt ${value}`] }), rules)).toBe("ann");
  expect(await subjectOf(bearer(undefined, {}, `a=b&t=${value}`), rules)).toBe("ann");
  expect(await subjectOf(bearer(undefined, { cookie: [`a=b; session=${value}`] }), rules)).toBe("ann");
  expect(await subjectOf(bearer(value), rules)).toBeUndefined();
  expect(await subjectOf(bearer(undefined, {}, `access_token=${value}`))).toBe("ann");
});

test("two different tokens are one too many", async () => {
  const second = await token({ claims: { sub: "bob" } });
  const both = bearer(await token(), {}, `access_token=${second}`);
  expect(await authenticate(both)).toBeInstanceOf(TokenRefused);
});

test("headers say what the token said, and a caller's own are taken away", async () => {
  const rules = [
    rule({
      outputPayloadToHeader: "x-payload",
      outputClaimToHeaders: [
        { header: "X-Sub", claim: "sub" },
        { header: "x-role", claim: "realm.role" },
        { header: "x-evil", claim: "evil" },
      ],
    }),
  ];
  const value = await token({ claims: { realm: { role: "admin" }, evil: "a\r\nb: c" } });
  const identity = await authenticate(bearer(value), rules);
  expect(identity.add).toEqual(["x-payload", value.split(".")[1], "X-Sub", "ann", "x-role", "admin"]);
  const none = await authenticate(bearer(undefined), rules);
  expect([...none.remove].sort()).toEqual(["x-evil", "x-payload", "x-role", "x-sub"]);
});

test("claims are compared as texts, one by one", () => {
  const claims = { a: { b: ["x", 1, true, null, {}] }, scope: "read write", __proto__x: 1 };
  expect(claimValues(claims, ["a", "b"])).toEqual(["x", "1", "true"]);
  expect(claimValues(claims, ["scope"])).toEqual(["read write", "read", "write"]);
  expect(claimValues(claims, ["constructor", "name"])).toEqual([]);
});

/** A clock whose time the test says. */
function clockAt() {
  const state = { ms: 1e9 };
  const clock: Clock = { ...realClock, now: () => Date.now(), monotonicMs: () => state.ms };
  return { clock, state };
}

test("keys are asked for once, renewed behind requests, and the last good ones stay", async () => {
  const { clock, state } = clockAt();
  let asked = 0;
  let isUp = true;
  const ask = async (): Promise<Record<string, unknown>> => {
    asked++;
    if (!isUp) throw new Error("down");
    return JSON.parse(jwks);
  };
  const authenticator = new Authenticator([rule({ jwks: "", jwksUri: "https://k.example" })], ask, clock);
  const value = await token();
  const sub = async () => (await authenticator.authenticate(bearer(value))).claims.sub;
  await Promise.all([sub(), sub(), sub()]);
  expect(asked).toBe(1);
  isUp = false;
  state.ms += 6 * 60_000;
  expect(await sub()).toBe("ann");
  expect(asked).toBe(2);
  // A failure is not repeated by each request.
  expect(await sub()).toBe("ann");
  expect(asked).toBe(2);
  state.ms += 25 * 60 * 60_000;
  expect(await sub()).toBe("ann");
});

test("an unknown key name has the keys looked at again, but not each time", async () => {
  const { clock, state } = clockAt();
  let asked = 0;
  const ask = async (): Promise<Record<string, unknown>> => {
    asked++;
    return JSON.parse(asked === 1 ? '{"keys":[]}' : jwks);
  };
  const authenticator = new Authenticator([rule({ jwks: "", jwksUri: "https://k.example" })], ask, clock);
  const value = await token();
  const sub = async () =>
    Promise.resolve(authenticator.authenticate(bearer(value))).then(
      ({ claims }) => claims.sub,
      () => "refused",
    );
  expect(await sub()).toBe("refused");
  expect(await sub()).toBe("refused");
  expect(asked).toBe(1);
  state.ms += 31_000;
  expect(await sub()).toBe("ann");
  expect(asked).toBe(2);
});

test("without an address of keys the issuer's configuration names it, if it is the issuer's", async () => {
  const ask = async (url: string): Promise<Record<string, unknown>> =>
    url.endsWith("openid-configuration") ? { issuer, jwks_uri: "https://keys.example" } : JSON.parse(jwks);
  const value = await token();
  const rules = [rule({ jwks: "" })];
  const claims = await new Authenticator(rules, ask, realClock).authenticate(bearer(value));
  expect(claims.claims.sub).toBe("ann");
  const wrong = async () => ({ issuer: "https://else.example", jwks_uri: "https://keys.example" });
  const refused = await Promise.resolve(
    new Authenticator(rules, wrong, realClock).authenticate(bearer(value)),
  ).catch((error) => error);
  expect(refused).toBeInstanceOf(TokenRefused);
});
