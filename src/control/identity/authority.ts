import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from "node:crypto";
import type { Clock } from "../../edges/clock.ts";
import { type Certificate, readCertificate } from "./certificate.ts";
import { issueLeaf, issueRoot, type KeyPair } from "./issue.ts";
import type { Kept, Vault } from "./vault.ts";

/** A root of the bundle. The last one whose time has come signs; all are trusted. */
export interface Root extends KeyPair {
  signsFromMs: number;
}

interface Kind {
  format: "mecha-identity-1";
  roots: Root[];
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const rootLifeMs = 365 * dayMs;
/** The next root is made in the last part of this one's life, and signs from the middle of that part: two and one month. */
const lastPart = 1 / 6;
export const skewDefaultMs = 15 * minuteMs;
export const leafLifeDefaultMs = dayMs;

export interface AuthorityOptions {
  vault: Vault;
  clock: Clock;
  /** MECHA_IDENTITY_SECRET: keys are kept encrypted with it. */
  secret?: string | undefined;
}

/** What an authority holds at one moment. */
export interface AuthorityView {
  roots: readonly { certificate: Certificate; pair: KeyPair; signsFromMs: number }[];
  signer: KeyPair;
  /** When the next root takes over; `undefined`: none is waiting. */
  nextSignerAtMs: number | undefined;
  /** When a root has to be made that follows the last one. */
  nextRootDueMs: number;
  /** Tells two states apart. */
  version: string;
}

/** The authority that mechas of one store share: whoever can read the vault may issue in its name. */
export class Authority {
  readonly #options: AuthorityOptions;

  constructor(options: AuthorityOptions) {
    this.#options = options;
  }

  get place(): string {
    return this.#options.vault.place;
  }

  watch(listener: () => void): () => void {
    return this.#options.vault.watch(listener);
  }

  /** What there is; `undefined` before the first root. */
  async find(): Promise<AuthorityView | undefined> {
    const kept = await this.#options.vault.read();
    return kept && this.#view(kept);
  }

  /** What there is, made now when there is nothing. */
  async open(): Promise<AuthorityView> {
    const found = await this.find();
    if (found !== undefined) return found;
    await this.#write([this.#newRoot(0)], undefined);
    const made = await this.find();
    if (made === undefined) throw new Error(`${this.place} keeps nothing`);
    return made;
  }

  /** Makes the root that follows the last one, when it is time. Answers since when that will sign, if it was made. */
  async renewRoots(): Promise<number | undefined> {
    const view = await this.open();
    const nowMs = this.#options.clock.now();
    if (nowMs < view.nextRootDueMs) return undefined;
    const last = view.roots.at(-1)?.certificate.notAfterMs ?? nowMs;
    const delayMs = Math.max(0, last - nowMs) / 2;
    try {
      await this.addRoot(delayMs);
      return nowMs + delayMs;
    } catch (error) {
      // Another mecha may have been faster.
      if (nowMs >= (await this.open()).nextRootDueMs) throw error;
      return undefined;
    }
  }

  /** A new root: trusted at once, signing after the delay, when every mecha has heard of it. */
  async addRoot(delayMs: number): Promise<void> {
    const kept = await this.#kept();
    const { clock } = this.#options;
    await this.#write([...this.#current(this.#roots(kept)), this.#newRoot(clock.now() + delayMs)], kept);
  }

  /** Trusts only the root that signs. Answers how many were dropped. */
  async dropOldRoots(graceMs: number): Promise<number> {
    const kept = await this.#kept();
    const roots = this.#roots(kept);
    const last = roots.at(-1) as Root;
    const waitMs = last.signsFromMs + graceMs - this.#options.clock.now();
    if (roots.length > 1 && waitMs > 0)
      throw new Error(
        `the new root signs too short: certificates of the old one are still in use for ${Math.ceil(waitMs / 1000)} s`,
      );
    if (roots.length > 1) await this.#write([last], kept);
    return roots.length - 1;
  }

  async #kept(): Promise<Kept> {
    const kept = await this.#options.vault.read();
    if (kept === undefined) throw new Error(`there is no authority at ${this.place}: mecha identity init`);
    return kept;
  }

  #newRoot(signsFromMs: number): Root {
    const nowMs = this.#options.clock.now();
    const name = `mecha ${randomBytes(4).toString("hex")}`;
    return {
      ...issueRoot({ name, notBeforeMs: nowMs - skewDefaultMs, notAfterMs: nowMs + rootLifeMs }),
      signsFromMs,
    };
  }

  async #write(roots: readonly Root[], before: Kept | undefined): Promise<void> {
    const { vault, secret } = this.#options;
    const sealed = roots.map((root) => ({ ...root, key: seal(root.key, secret) }));
    const text = `${JSON.stringify({ format: "mecha-identity-1", roots: sealed }, null, 1)}\n`;
    const isDone = await vault.write(text, before);
    if (!isDone && before !== undefined) throw new Error(`${this.place} was changed meanwhile: try again`);
  }

  #roots({ text }: Kept): Root[] {
    const { format, roots } = JSON.parse(text) as Kind;
    if (format !== "mecha-identity-1" || roots.length === 0)
      throw new Error(`${this.place} holds no authority that this mecha knows`);
    return roots.map((root) => ({ ...root, key: unseal(root.key, this.#options.secret) }));
  }

  /** Those that have not ended; the last one in any case. */
  #current(roots: readonly Root[]): Root[] {
    const endedMs = this.#options.clock.now() - skewDefaultMs;
    return roots.filter((root) => root === roots.at(-1) || readCertificate(root.cert).notAfterMs > endedMs);
  }

  #view(kept: Kept): AuthorityView {
    const nowMs = this.#options.clock.now();
    const roots = this.#current(this.#roots(kept));
    const signing = roots.filter(({ signsFromMs }) => signsFromMs <= nowMs);
    const waiting = roots
      .filter(({ signsFromMs }) => signsFromMs > nowMs)
      .map(({ signsFromMs }) => signsFromMs);
    return {
      roots: roots.map((pair) => ({
        certificate: readCertificate(pair.cert),
        pair,
        signsFromMs: pair.signsFromMs,
      })),
      signer: (signing.at(-1) ?? roots[0]) as Root,
      nextRootDueMs: nextRootDueMs(readCertificate((roots.at(-1) as Root).cert)),
      nextSignerAtMs: waiting.length > 0 ? Math.min(...waiting) : undefined,
      version: kept.version,
    };
  }
}

function nextRootDueMs({ notBeforeMs, notAfterMs }: Certificate): number {
  return notAfterMs - (notAfterMs - notBeforeMs) * lastPart;
}

/** A certificate for a workload, that was valid already when the slowest clock is right. */
export function issueWorkload(
  view: AuthorityView,
  request: { uri: string; nowMs: number; lifeMs: number; skewMs: number },
): KeyPair {
  const { uri, nowMs, lifeMs, skewMs } = request;
  const root = readCertificate(view.signer.cert);
  const notAfterMs = Math.min(nowMs + lifeMs, root.notAfterMs);
  return issueLeaf({ uri, notBeforeMs: Math.max(nowMs - skewMs, root.notBeforeMs), notAfterMs }, view.signer);
}

function seal(key: string, secret: string | undefined): string {
  if (secret === undefined) return key;
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", scryptSync(secret, salt, 32), nonce);
  const sealed = Buffer.concat([cipher.update(key, "utf8"), cipher.final()]);
  return `sealed:${Buffer.concat([salt, nonce, cipher.getAuthTag(), sealed]).toString("base64")}`;
}

function unseal(text: string, secret: string | undefined): string {
  if (!text.startsWith("sealed:")) return text;
  if (secret === undefined)
    throw new Error("the keys of the authority are encrypted: set MECHA_IDENTITY_SECRET");
  const bytes = Buffer.from(text.slice(7), "base64");
  try {
    const decipher = createDecipheriv(
      "aes-256-gcm",
      scryptSync(secret, bytes.subarray(0, 16), 32),
      bytes.subarray(16, 28),
    );
    decipher.setAuthTag(bytes.subarray(28, 44));
    return Buffer.concat([decipher.update(bytes.subarray(44)), decipher.final()]).toString("utf8");
  } catch (cause) {
    throw new Error("MECHA_IDENTITY_SECRET is not the one that the authority's keys are encrypted with", {
      cause,
    });
  }
}
