import { formatSpiffeId } from "../control/identity/spiffe-id.ts";
import { type CredentialSource, Workload } from "../control/identity/workload.ts";
import { sleep } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import type { AppName } from "../peer/identity.ts";
import type { PeerCaller, PeerPort, PeerSecurity, PeerTls } from "../peer/security.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { SecureFront } from "./listeners.ts";
import { SecurePort } from "./secure-port.ts";

/** What the Configuration and the flags say. */
export interface MutualTlsTerms {
  mode: "strict" | "permissive" | "off";
  trustDomain: string;
  lifeMs: number;
  skewMs: number;
}

export interface MutualTlsOptions {
  app: AppName;
  terms: MutualTlsTerms;
  /** The trust domain is that of somebody else's certificate. */
  isNamedByFiles: boolean;
  sourceOf(terms: () => MutualTlsTerms): CredentialSource;
  edges: Pick<Edges, "clock">;
  log: Log;
}

/** Within this time others have heard of an announcement. */
const heardMs = 5000;

export async function openMutualTls(options: MutualTlsOptions): Promise<MutualTls> {
  const now = { terms: options.terms };
  const { edges, log } = options;
  const workload = new Workload({ source: options.sourceOf(() => now.terms), edges, log });
  await workload.open();
  return new MutualTls(options, workload, now);
}

/** mTLS of one app with its peers, both ways; follows its Configuration without a call failing. */
export class MutualTls implements PeerSecurity {
  readonly app: AppName;
  readonly workload: Workload;
  readonly front: SecureFront;
  readonly #options: MutualTlsOptions;
  readonly #port: SecurePort;
  readonly #now: { terms: MutualTlsTerms };
  readonly #lifetime = new AbortController();
  #following: Promise<void> = Promise.resolve();

  constructor(options: MutualTlsOptions, workload: Workload, now: { terms: MutualTlsTerms }) {
    const { app, edges, log } = options;
    this.#options = options;
    this.#now = now;
    this.app = app;
    this.workload = workload;
    this.#port = new SecurePort({ app, workload, terms: portTerms(now.terms), clock: edges.clock, log });
    this.front = this.#port.front;
    this.#warnOfPlain();
  }

  get tls(): PeerTls {
    return this.#port.tls;
  }

  /** For the metadata API. */
  get shown(): Record<string, string> {
    return { mtls: this.#now.terms.mode, spiffeId: formatSpiffeId(this.workload.current.id) };
  }

  onChange(listener: () => Promise<void> | void): void {
    this.#port.onChange(listener);
  }

  addressOf(callee: PeerPort & { tls: PeerTls }): HttpAddress {
    return this.#port.addressOf(callee);
  }

  callerOf(connection: object | undefined): PeerCaller | undefined {
    return this.#port.callerOf(connection);
  }

  /** Takes over what was changed, one change after the other; what can not be used is told, and the old stays. */
  follow(terms: MutualTlsTerms): void {
    const { log } = this.#options;
    this.#following = this.#following
      .then(() => this.#follow(terms))
      .catch((error: Error) =>
        log.error({}, `the changed mTLS can not be used, the old one stays: ${error.message}`),
      );
  }

  async close(): Promise<void> {
    this.#lifetime.abort();
    this.#port.stop();
    await this.#following;
    await this.workload.close();
  }

  async #follow(next: MutualTlsTerms): Promise<void> {
    const before = this.#now.terms;
    if (this.#lifetime.signal.aborted || JSON.stringify(next) === JSON.stringify(before)) return;
    if (next.mode === "off") throw new Error("mode off takes effect at the next start");
    await this.#adopt(next, before);
    const { log } = this.#options;
    await this.#port.apply(portTerms(next)).catch((error: Error) => {
      // It is announced again with the next heartbeat.
      log.warn({}, `others were not told of the changed mTLS yet: ${error.message}`);
    });
    log.info({}, `mTLS between runtimes is ${next.mode} now, as ${this.shown.spiffeId}`);
    this.#warnOfPlain();
  }

  /** A certificate by the new terms. Who calls is told of another name before it is shown. */
  async #adopt(next: MutualTlsTerms, before: MutualTlsTerms): Promise<void> {
    const { app, edges, isNamedByFiles } = this.#options;
    const { trustDomain } = next;
    formatSpiffeId({ ...app, trustDomain });
    const isRenamed = !isNamedByFiles && trustDomain !== before.trustDomain;
    try {
      if (isRenamed) {
        await this.#port.announce({ nextTrustDomain: trustDomain });
        await sleep(edges.clock, heardMs, this.#lifetime.signal);
      }
      this.#now.terms = next;
      const isSame = next.lifeMs === before.lifeMs && next.skewMs === before.skewMs;
      if (isRenamed || !isSame) await this.workload.renew();
    } catch (error) {
      this.#now.terms = before;
      if (isRenamed) await this.#port.announce({ nextTrustDomain: undefined }).catch(() => undefined);
      throw error;
    }
  }

  #warnOfPlain(): void {
    if (this.#now.terms.mode !== "permissive") return;
    this.#options.log.warn({}, "mtls.mode permissive: peers without a certificate are let in too");
  }
}

function portTerms({ mode, skewMs }: MutualTlsTerms): { isRequired: boolean; skewMs: number } {
  return { isRequired: mode === "strict", skewMs };
}
