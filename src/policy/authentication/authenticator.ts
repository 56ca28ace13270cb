import type { JWTPayload } from "jose";
import type { Clock } from "../../edges/clock.ts";
import type { JwtRule, RequestAuthenticationResource } from "../../resource/authentication.ts";
import type { Resource } from "../../resource/resource.ts";
import { type AskForJson, IssuerKeys } from "./key-sets.ts";
import { type FoundToken, type TokenBearer, tokensOf } from "./tokens.ts";

/** Who a caller has shown to be, by a token that is good. */
export interface Identity {
  claims: JWTPayload;
  /** Lower-case names of headers that do not go on. */
  remove: ReadonlySet<string>;
  /** Lines that do. */
  add: string[];
}

/** A token that is not good; the message is for the log. */
export class TokenRefused extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TokenRefused";
  }
}

/** What clocks may differ by. */
const toleranceS = 60;
const tokenCharsMax = 16 * 1024;
/** Keys that can be published. A secret shared by HMAC, or none at all, proves nothing about an issuer. */
const algorithms = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];

/** The RequestAuthentications of one app together. */
export class Authenticator {
  readonly #rules: readonly JwtRule[];
  readonly #keys: ReadonlyMap<JwtRule, IssuerKeys>;
  readonly #clock: Clock;
  /** Headers that say what a token said: a caller's own never pass. */
  readonly #outputs: ReadonlySet<string>;

  constructor(rules: readonly JwtRule[], ask: AskForJson, clock: Clock) {
    this.#rules = rules;
    this.#keys = new Map(rules.map((rule) => [rule, new IssuerKeys(rule, ask, clock)]));
    this.#clock = clock;
    const outputs = rules.flatMap(({ outputPayloadToHeader, outputClaimToHeaders }) => [
      outputPayloadToHeader,
      ...outputClaimToHeaders.map(({ header }) => header),
    ]);
    this.#outputs = new Set(outputs.filter((name) => name !== "").map((name) => name.toLowerCase()));
  }

  /** At once when there is no token; rejects with `TokenRefused`. */
  authenticate(bearer: TokenBearer): Identity | Promise<Identity> {
    const tokens = tokensOf(this.#rules, bearer);
    const [only, other] = tokens;
    if (only === undefined) return { claims: {}, remove: this.#outputs, add: [] };
    if (other !== undefined) return Promise.reject(new TokenRefused("the request shows more than one token"));
    return this.#identity(only);
  }

  async #identity({ token, rules, inHeaders }: FoundToken): Promise<Identity> {
    if (token.length > tokenCharsMax) throw new TokenRefused("the token is too long");
    const { decodeJwt } = await import("jose");
    let issuer: string | undefined;
    try {
      issuer = decodeJwt(token).iss;
    } catch (error) {
      throw new TokenRefused("the token can not be read", { cause: error });
    }
    const rule = rules.find((one) => one.issuer === issuer);
    if (rule === undefined) throw new TokenRefused("no rule has the token's issuer");
    const claims = await this.#verify(token, rule);
    const remove = rule.forwardOriginalToken ? this.#outputs : new Set([...this.#outputs, ...inHeaders]);
    return { claims, remove, add: outputLines(rule, token, claims) };
  }

  async #verify(token: string, rule: JwtRule): Promise<JWTPayload> {
    const { errors } = await import("jose");
    const keys = this.#keys.get(rule) as IssuerKeys;
    try {
      return await this.#verifyOnce(token, rule, keys);
    } catch (error) {
      const isKnown = !(error instanceof errors.JWKSNoMatchingKey);
      if (isKnown || !(await keys.missed()))
        throw new TokenRefused((error as Error).message, { cause: error });
    }
    return this.#verifyOnce(token, rule, keys).catch((error: Error) => {
      throw new TokenRefused(error.message, { cause: error });
    });
  }

  async #verifyOnce(token: string, rule: JwtRule, keys: IssuerKeys): Promise<JWTPayload> {
    const { createLocalJWKSet, errors, jwtVerify } = await import("jose");
    const options = {
      ...{ issuer: rule.issuer, algorithms, clockTolerance: toleranceS },
      ...(rule.audiences.length > 0 && { audience: rule.audiences }),
      currentDate: new Date(this.#clock.now()),
    };
    const known = createLocalJWKSet(await keys.get());
    try {
      return (await jwtVerify(token, known, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      // A token without `kid`: one of the keys that fit its algorithm has signed it, or none has.
      for await (const key of error) {
        const verified = await jwtVerify(token, key, options).catch((cause: Error) => cause);
        if ("payload" in verified) return verified.payload;
        if (!(verified instanceof errors.JWSSignatureVerificationFailed)) throw verified;
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  }
}

function outputLines(rule: JwtRule, token: string, claims: JWTPayload): string[] {
  const lines: string[] = [];
  if (rule.outputPayloadToHeader !== "") {
    lines.push(rule.outputPayloadToHeader, token.split(".")[1] as string);
  }
  for (const { header, claim } of rule.outputClaimToHeaders) {
    const value = claimAt(claims, claim.split("."));
    const isPlain = ["string", "number", "boolean"].includes(typeof value);
    // A line break in a claim is no line of a header.
    if (isPlain && /^[\t\x20-\x7e]*$/.test(String(value))) lines.push(header, String(value));
  }
  return lines;
}

function claimAt(claims: unknown, path: readonly string[]): unknown {
  let value = claims;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** The texts that a rule compares: of lists each, of `scope` and `permission` each word. */
export function claimValues(claims: JWTPayload, path: readonly string[]): string[] {
  const value = claimAt(claims, path);
  const list = Array.isArray(value) ? value : [value];
  const texts = list.filter((one) => ["string", "number", "boolean"].includes(typeof one)).map(String);
  const isWords = ["scope", "permission"].includes(path.at(-1) ?? "");
  return isWords ? texts.flatMap((text) => [...new Set([text, ...text.split(" ")])]) : texts;
}

/** `undefined` when no policy is for the app. */
export function authenticatorOf(
  resources: readonly Resource[],
  appId: string,
  { ask, clock }: { ask: AskForJson; clock: Clock },
): Authenticator | undefined {
  const rules = resources
    .filter(
      (resource): resource is RequestAuthenticationResource => resource.kind === "RequestAuthentication",
    )
    .filter(({ spec }) => spec.targets.length === 0 || spec.targets.some(({ name }) => name === appId))
    .flatMap(({ spec }) => spec.jwtRules);
  return rules.length === 0 ? undefined : new Authenticator(rules, ask, clock);
}
