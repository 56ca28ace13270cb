import { createHmac, timingSafeEqual } from "node:crypto";
import type { Clock } from "../edges/clock.ts";
import type { AppName } from "./identity.ts";

/** Who calls whom, as both sides see it. */
export interface Parties {
  caller: AppName & { trustDomain: string };
  callee: AppName;
}

const stepMs = 60_000;
/** How far the clocks of two machines may be apart, and so how long one proof can be shown again. */
const stepsApartMax = 5;

/**
 * The proof of runtimes that share no registry and no authority: both know a secret. It never travels. What travels is
 * good for one caller, one callee and some minutes, since an address may lead to anybody.
 */
export class SharedSecret {
  readonly #secrets: () => readonly string[];
  readonly #clock: Clock;

  /** The first of the secrets is used, all are accepted. */
  constructor(secrets: () => readonly string[], clock: Clock) {
    this.#secrets = secrets;
    this.#clock = clock;
  }

  /** Changes when another proof is due. */
  get period(): string {
    return `${this.#step()} ${this.#secrets()[0]}`;
  }

  proofOf(parties: Parties): string {
    const step = this.#step();
    return `${step}.${codeOf(this.#secrets()[0] ?? "", step, parties).toString("base64url")}`;
  }

  isProof(shown: string | undefined, parties: Parties): boolean {
    const [, stepText = "", code = ""] = /^(\d{1,12})\.([\w-]{43})$/.exec(shown ?? "") ?? [];
    const step = Number(stepText);
    if (stepText === "" || Math.abs(step - this.#step()) > stepsApartMax) return false;
    const bytes = Buffer.from(code, "base64url");
    return this.#secrets().some((secret) => {
      const expected = codeOf(secret, step, parties);
      return bytes.length === expected.length && timingSafeEqual(bytes, expected);
    });
  }

  #step(): number {
    return Math.floor(this.#clock.now() / stepMs);
  }
}

function codeOf(secret: string, step: number, { caller, callee }: Parties): Buffer {
  const said = ["mecha-peer/1", step, caller.trustDomain, caller.namespace, caller.appId];
  return createHmac("sha256", secret)
    .update(JSON.stringify([...said, callee.namespace, callee.appId]))
    .digest();
}
