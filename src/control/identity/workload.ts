import type { ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Certificate } from "./certificate.ts";
import { formatSpiffeId, type SpiffeId } from "./spiffe-id.ts";

/** What a workload shows and trusts at one moment. */
export interface Credentials {
  id: SpiffeId;
  /** Its certificate, and intermediates after it. */
  cert: string;
  key: string;
  roots: readonly Certificate[];
  /** When to load again; `undefined`: when the source says so. */
  renewAtMs: number | undefined;
}

/** Where credentials come from: an authority of mecha's, or files that somebody else writes. */
export interface CredentialSource {
  load(): Promise<Credentials>;
  /** Calls when there may be others. Answers how to stop. */
  watch(listener: () => void): () => void;
}

export interface WorkloadOptions {
  source: CredentialSource;
  edges: Pick<Edges, "clock">;
  log: Log;
}

const retryMs = 5000;

/** The credentials of one app as they are now; renewed while it runs. */
export class Workload {
  /** Grows with each change: connections of an older one are used for no new call. */
  generation = 1;
  current!: Credentials;
  readonly #options: WorkloadOptions;
  readonly #listeners = new Set<() => void>();
  #unwatch: () => void = () => undefined;
  #timer: ClockTimer | undefined;
  #loading: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.current = await this.#options.source.load();
    this.#unwatch = this.#options.source.watch(() => this.#reload());
    this.#renewLater(this.current.renewAtMs);
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** New credentials at once. Rejects when there are none: those from before stay, and nothing is tried again. */
  renew(): Promise<void> {
    const renewed = this.#loading.then(() => this.#adopt());
    this.#loading = renewed.catch(() => undefined);
    return renewed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#unwatch();
    await this.#loading;
  }

  #reload(): void {
    this.#loading = this.#loading.then(() => this.#load());
  }

  async #load(): Promise<void> {
    const { edges, log } = this.#options;
    try {
      await this.#adopt();
    } catch (error) {
      log.error({ error }, "could not renew the certificate; the one from before stays");
      this.#renewLater(edges.clock.now() + retryMs);
    }
  }

  async #adopt(): Promise<void> {
    if (this.#isClosed) return;
    const next = await this.#options.source.load();
    this.current = next;
    this.generation++;
    this.#options.log.debug({}, `the certificate of ${formatSpiffeId(next.id)} was renewed`);
    for (const listener of this.#listeners) listener();
    this.#renewLater(next.renewAtMs);
  }

  #renewLater(atMs: number | undefined): void {
    this.#timer?.cancel();
    if (atMs === undefined || this.#isClosed) return;
    const { clock } = this.#options.edges;
    this.#timer = clock.setTimer(atMs - clock.now(), () => this.#reload(), { background: true });
  }
}
