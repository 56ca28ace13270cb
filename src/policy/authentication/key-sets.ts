import type { JSONWebKeySet } from "jose";
import type { Clock } from "../../edges/clock.ts";
import type { JwtRule } from "../../resource/authentication.ts";

/** Asks for a JSON object. */
export type AskForJson = (url: string, options: { timeoutMs: number }) => Promise<Record<string, unknown>>;

/** After this the keys are asked for again, while the old ones go on to count. */
const freshMs = 5 * 60_000;
/** Between two times of asking: for a key that is not known, or after a failure. */
const pauseMs = 30_000;
/** After this a request waits for the renewal. Should it fail, the last good keys stay. */
const staleMs = 24 * 60 * 60_000;

/** The keys of one issuer: fetched once, renewed behind the requests; the last good ones stay when that fails. */
export class IssuerKeys {
  readonly #rule: JwtRule;
  readonly #ask: AskForJson;
  readonly #clock: Clock;
  #keys: JSONWebKeySet | undefined;
  #gotMs = 0;
  #askedMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(rule: JwtRule, ask: AskForJson, clock: Clock) {
    this.#rule = rule;
    this.#ask = ask;
    this.#clock = clock;
    if (rule.jwks !== "") this.#keys = JSON.parse(rule.jwks) as JSONWebKeySet;
  }

  /** Rejects when there are none. */
  async get(): Promise<JSONWebKeySet> {
    if (this.#rule.jwks !== "") return this.#keys as JSONWebKeySet;
    const ageMs = this.#clock.monotonicMs() - this.#gotMs;
    if (this.#keys === undefined || ageMs > staleMs) await this.#renew();
    else if (ageMs > freshMs) void this.#renew();
    if (this.#keys === undefined) throw this.#failure ?? new Error("the issuer's keys are not known");
    return this.#keys;
  }

  /** A token names a key that is not among them. Whether it is worth another look. */
  async missed(): Promise<boolean> {
    const before = this.#gotMs;
    if (this.#rule.jwks === "") await this.#renew();
    return this.#gotMs !== before;
  }

  /** Never rejects. */
  #renew(): Promise<void> {
    if (this.#asking !== undefined) return this.#asking;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#askedMs < pauseMs) return Promise.resolve();
    this.#askedMs = nowMs;
    this.#asking = this.#fetch().then(
      (keys) => {
        this.#keys = keys;
        this.#gotMs = this.#clock.monotonicMs();
        this.#asking = undefined;
      },
      (error: Error) => {
        this.#failure = error;
        this.#asking = undefined;
      },
    );
    return this.#asking;
  }

  async #fetch(): Promise<JSONWebKeySet> {
    const { issuer, timeoutMs } = this.#rule;
    let { jwksUri } = this.#rule;
    if (jwksUri === "") {
      const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
      const configuration = await this.#ask(url, { timeoutMs });
      if (configuration.issuer !== issuer) throw new Error(`${url} is of another issuer`);
      if (typeof configuration.jwks_uri !== "string") throw new Error(`${url} has no jwks_uri`);
      jwksUri = configuration.jwks_uri;
    }
    const keySet = await this.#ask(jwksUri, { timeoutMs });
    if (!Array.isArray(keySet.keys)) throw new Error(`${jwksUri} answered no key set`);
    return keySet as unknown as JSONWebKeySet;
  }
}
