import { Candidate, type ElectionEvent, type LeaseTimes } from "../engine/leases/candidate.ts";
import { leaseName } from "../engine/leases/elections.ts";
import { LeaseGuard } from "./group-guard.ts";
import type { Host } from "./host.ts";

export interface SingletonAppOptions {
  host: Host;
  namespace: string;
  appId: string;
  times: LeaseTimes;
  /** Opens the app's runtime and starts its process. */
  activate(): Promise<void>;
  /** Ends both. */
  deactivate(): Promise<void>;
  talk(text: string): void;
}

/** How long an app that lost its lease has to end, before the lease does. */
export function stopTimeoutOf({ leaseDurationMs, renewDeadlineMs }: LeaseTimes): number {
  return (leaseDurationMs - renewDeadlineMs) * 0.8;
}

/** An app of a node that runs in one of the nodes that share the store: here while this one leads. */
export class SingletonApp {
  readonly #options: SingletonAppOptions;
  #candidate: Candidate | undefined;
  #guard: LeaseGuard | undefined;
  /** What happens comes one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #isWanted = false;
  #isActive = false;
  #isClosing = false;

  constructor(options: SingletonAppOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isClosing) return;
    const { host, namespace, appId, times } = this.#options;
    this.#candidate = new Candidate({
      store: host.store,
      clock: host.clock,
      name: leaseName(namespace, "app", appId),
      leader: `${host.hostName}/${process.pid}`,
      times,
      onEvent: (event) => this.#on(event),
      onError: (error) => this.#say(`could not campaign: ${(error as Error).message}`),
    });
    this.#candidate.start();
  }

  /** Follows a process of the app: it ends with the lease. */
  guard(pid: number): void {
    this.#guard?.end();
    this.#guard = new LeaseGuard(pid, this.#leftMs());
  }

  unguard(): void {
    this.#guard?.end();
    this.#guard = undefined;
  }

  /** Whether the app may run right now. */
  get isLeading(): boolean {
    return this.#candidate?.leadership !== undefined;
  }

  /** Ends the app, then gives leadership up. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#isWanted = false;
    await this.#settle();
    await this.#candidate?.close();
  }

  #on(event: ElectionEvent): void {
    if (event.kind === "following") this.#say(`stands by: ${event.leader} runs it`);
    if (event.kind === "renewed") this.#guard?.renew(this.#leftMs());
    if (event.kind === "following" || event.kind === "renewed") return;
    this.#isWanted = event.kind === "leading" && !this.#isClosing;
    if (event.kind === "leading") this.#say(`leads, term ${event.term}`);
    if (event.kind === "lost" && !this.#isClosing) this.#say(`leads no more: ${event.reason}`);
    void this.#settle();
  }

  #settle(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#apply());
    return this.#turn;
  }

  async #apply(): Promise<void> {
    const { activate, deactivate } = this.#options;
    if (this.#isWanted === this.#isActive) return;
    this.#isActive = this.#isWanted;
    try {
      await (this.#isActive ? activate() : deactivate());
    } catch (error) {
      this.#say(`could not be ${this.#isActive ? "started" : "ended"}: ${(error as Error).message}`);
      if (this.#isActive) await this.#giveWay();
    }
  }

  /** Another node may be able to run it; this one stands again later. */
  async #giveWay(): Promise<void> {
    const { host, times, deactivate } = this.#options;
    this.#isActive = false;
    this.#isWanted = false;
    await deactivate().catch((error: Error) => this.#say(`could not be ended: ${error.message}`));
    await this.#candidate?.close("it could not be started");
    this.#candidate = undefined;
    host.clock.setTimer(times.leaseDurationMs, () => this.start(), { background: true });
  }

  /** The app may live until shortly before the lease ends: it gets the time between for ending. */
  #leftMs(): number {
    const validForMs = this.#candidate?.leadership?.validForMs ?? 0;
    return validForMs + stopTimeoutOf(this.#options.times);
  }

  #say(what: string): void {
    this.#options.talk(`app ${this.#options.appId} ${what}\n`);
  }
}
