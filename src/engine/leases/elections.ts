import type { Clock } from "../../edges/clock.ts";
import { errors } from "../../errors.ts";
import type { SingletonResource } from "../../resource/resource.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Store } from "../store/store.ts";
import { Candidate, type ElectionEvent, type Leadership, type LeaseTimes } from "./candidate.ts";
import { readTerm } from "./term-record.ts";

export interface ElectionsOptions {
  principal: { namespace: string; appId: string };
  store: Store;
  clock: Clock;
  log: Log;
  /** The Singleton resources that the app sees. */
  singletons: () => readonly SingletonResource[];
  /** Tells the app of a resource with `onAcquire` or `onLose`. */
  tell(singleton: SingletonResource, event: ElectionEvent): Promise<void>;
}

export interface Campaign {
  /** Resigns when it leads. */
  close(): Promise<void>;
  /** Resolves when it ended otherwise: somebody resigned for it, or the runtime closes. */
  readonly ended: Promise<void>;
  readonly leadership: (Leadership & { validForMs: number }) | undefined;
}

export interface GroupState {
  group: string;
  /** Absent: nobody leads. */
  leader?: string;
  /** The newest term there was; 0: none. */
  term: number;
  fencingToken: number;
  sinceMs?: number;
  expiresAtMs?: number;
}

/** The elections of one app. */
export interface Elections {
  /** Throws faults of the ELECTION_* rows. */
  campaign(request: CampaignRequest): Campaign;
  state(group: string): Promise<GroupState>;
  /** Ends the leadership that has this token, whoever campaigns for it. */
  resign(group: string, fencingToken: number): Promise<void>;
  /** Campaigns for the app where a Singleton resource has callbacks; takes a changed list too. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export interface CampaignRequest {
  group: string;
  /** What others see; absent: the app id. */
  candidate?: string | undefined;
  onEvent(event: ElectionEvent): void;
}

const campaignsMax = 1000;
const namePattern = /^[^\p{C}]{1,200}$/u;
export const leaseTimesDefault: LeaseTimes = leaseTimes(15_000);

/** What follows from the length of a lease: renewed at a third, given up at two thirds. */
export function leaseTimes(leaseDurationMs: number): LeaseTimes {
  return {
    leaseDurationMs,
    renewDeadlineMs: (leaseDurationMs * 2) / 3,
    retryPeriodMs: (leaseDurationMs * 2) / 15,
  };
}

/** The lease of a group that anybody may name; those that mecha makes itself are of other kinds. */
export function leaseName(namespace: string, kind: "group" | "app" | "schedule", name: string): string {
  return `singleton:${encodeURIComponent(namespace || "default")}:${kind}:${encodeURIComponent(name)}`;
}

export function createElections(options: ElectionsOptions): Elections {
  return new AppElections(options);
}

class AppElections implements Elections {
  readonly #options: ElectionsOptions;
  readonly #campaigns = new Set<OpenCampaign>();
  /** By the resource's text: a changed one campaigns anew. */
  readonly #standing = new Map<string, Campaign>();
  #isClosed = false;

  constructor(options: ElectionsOptions) {
    this.#options = options;
  }

  campaign({ group, candidate, onEvent }: CampaignRequest): Campaign {
    this.#check(group, candidate);
    if (this.#campaigns.size >= campaignsMax) throw errors.ELECTION_TOO_MANY(String(campaignsMax));
    const singleton = this.#singletonOf(group);
    const { appId, namespace } = this.#options.principal;
    const { store, clock, log } = this.#options;
    const name = leaseName(namespace, "group", group);
    const campaign = new OpenCampaign(name, () => this.#campaigns.delete(campaign), {
      store,
      clock,
      leader: candidate || appId,
      times: singleton?.spec ?? leaseTimesDefault,
      onEvent,
      onError: (error) => log.warn({ error }, `the campaign for ${group} failed, and is tried again`),
    });
    this.#campaigns.add(campaign);
    return campaign;
  }

  async state(group: string): Promise<GroupState> {
    this.#check(group);
    const { store, principal } = this.#options;
    const name = leaseName(principal.namespace, "group", group);
    const [record, lease] = await faulted(() => Promise.all([readTerm(store, name), store.getLease(name)]));
    const { term = 0, fencingToken = 0, leader, sinceMs } = record ?? {};
    if (lease === undefined || leader === undefined || lease.token !== fencingToken) {
      return { group, term, fencingToken };
    }
    return { group, leader, term, fencingToken, sinceMs, expiresAtMs: lease.expiresAtMs };
  }

  async resign(group: string, fencingToken: number): Promise<void> {
    this.#check(group);
    const { store, principal } = this.#options;
    const name = leaseName(principal.namespace, "group", group);
    for (const campaign of this.#campaigns) {
      if (campaign.name !== name || campaign.leadership?.fencingToken !== fencingToken) continue;
      await campaign.close();
      return;
    }
    const isReleased = await faulted(() => store.releaseLease(name, fencingToken));
    if (!isReleased) throw errors.ELECTION_NOT_LEADER(group, String(fencingToken));
  }

  async reload(): Promise<void> {
    const wanted = new Map<string, SingletonResource>();
    for (const singleton of this.#isClosed ? [] : this.#options.singletons()) {
      const { onAcquire, onLose, members } = singleton.spec;
      const isMember = members.length === 0 || members.includes(this.#options.principal.appId);
      if (isMember && (onAcquire ?? onLose) !== undefined) wanted.set(printOf(singleton), singleton);
    }
    const gone = [...this.#standing].filter(([print]) => !wanted.has(print));
    for (const [print] of gone) this.#standing.delete(print);
    await Promise.all(gone.map(([, campaign]) => campaign.close()));
    for (const [print, singleton] of wanted) {
      if (!this.#standing.has(print)) this.#keepStanding(print, singleton);
    }
  }

  /** Whoever was resigned for stands again, after the others had their turn. */
  #keepStanding(print: string, singleton: SingletonResource): void {
    const campaign = this.#stand(singleton);
    this.#standing.set(print, campaign);
    const again = (): void => {
      const isWanted = !this.#isClosed && this.#standing.get(print) === campaign;
      if (isWanted) this.#keepStanding(print, singleton);
    };
    const { clock } = this.#options;
    const pauseMs = singleton.spec.leaseDurationMs;
    void campaign.ended.then(() => clock.setTimer(pauseMs, again, { background: true }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#standing.clear();
    await Promise.all([...this.#campaigns].map((campaign) => campaign.close()));
  }

  /** Calls come one after the other, in the order of what happened. */
  #stand(singleton: SingletonResource): Campaign {
    let told: Promise<void> = Promise.resolve();
    return this.campaign({
      group: groupOf(singleton),
      onEvent: (event) => {
        if (event.kind !== "leading" && event.kind !== "lost") return;
        const { group, term } = { group: groupOf(singleton), ...event };
        this.#options.log.info({ group, term }, `${group}: ${event.kind}, term ${term}`);
        told = told
          .then(() => this.#options.tell(singleton, event))
          .catch((error) => this.#options.log.warn({ error }, `the app could not be told of ${group}`));
      },
    });
  }

  #check(group: string, candidate = ""): void {
    if (!namePattern.test(group)) throw errors.ELECTION_NAME("group");
    if (candidate !== "" && !namePattern.test(candidate)) throw errors.ELECTION_NAME("candidate");
    const { appId } = this.#options.principal;
    const members = this.#singletonOf(group)?.spec.members ?? [];
    if (members.length > 0 && !members.includes(appId)) throw errors.ELECTION_FORBIDDEN(appId, group);
  }

  #singletonOf(group: string): SingletonResource | undefined {
    return this.#options.singletons().find((singleton) => groupOf(singleton) === group);
  }
}

/** A candidate that is registered as long as it runs. */
class OpenCampaign implements Campaign {
  readonly name: string;
  readonly ended: Promise<void>;
  readonly #candidate: Candidate;
  readonly #end: () => void;
  #closing: Promise<void> | undefined;

  constructor(
    name: string,
    onEnd: () => void,
    options: Omit<ConstructorParameters<typeof Candidate>[0], "name">,
  ) {
    this.name = name;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = () => {
      onEnd();
      resolve();
    };
    this.#candidate = new Candidate({ ...options, name });
    this.#candidate.start();
  }

  get leadership() {
    return this.#candidate.leadership;
  }

  close(): Promise<void> {
    this.#closing ??= this.#candidate.close().finally(this.#end);
    return this.#closing;
  }
}

export function groupOf({ name, spec }: SingletonResource): string {
  return spec.group || name;
}

function printOf({ name, spec }: SingletonResource): string {
  return JSON.stringify([name, spec]);
}

async function faulted<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw errors.ELECTION((error as Error).message, { cause: error });
  }
}
