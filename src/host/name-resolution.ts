import { definitionsOf } from "../component/definitions.ts";
import type { AnnouncedRuntime, Announcement, NameResolver } from "../component/name-resolver.ts";
import { openComponent } from "../component/open-component.ts";
import { withinTime } from "../component/within-time.ts";
import { FoundPeers } from "../peer/found-peers.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { PeerSecurity } from "../peer/security.ts";
import { SharedSecret } from "../peer/shared-secret.ts";
import type { NameResolution } from "../resource/resource.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";
import { openPeerSecrets, type PeerSecrets } from "./tokens.ts";

export interface NamesRequest {
  host: Host;
  options: RuntimeOptions;
  resources: Pick<RuntimeResources, "configuration" | "onConfiguration">;
  security: PeerSecurity | undefined;
  log: Log;
}

/** How one app's runtime and others find each other: by the registry of the store, or by what `spec.nameResolution` names. */
export interface Names {
  readonly peers: FoundPeers;
  /** Runtimes of other machines are to reach this one. */
  readonly isNetworked: boolean;
  /** What peers may show that can not read this registry. */
  outsiders(): { secret: SharedSecret | undefined } | undefined;
  announce(self: AnnouncedRuntime): Promise<void>;
  withdraw(): Promise<void>;
  close(): Promise<void>;
}

const initTimeoutMs = 5_000;
/** A component has its own time limits; this one holds where it has none. */
const findMs = 5_000;

export async function openNames(request: NamesRequest): Promise<Names> {
  const { options, host, log } = request;
  const secrets = await openPeerSecrets(options, { edges: host.edges, log });
  const names = new ResolvedNames(request, secrets);
  try {
    await names.apply(request.resources.configuration.nameResolution);
  } catch (error) {
    await names.close();
    throw error;
  }
  request.resources.onConfiguration(({ nameResolution }) => names.reload(nameResolution));
  return names;
}

interface Used {
  wanted: string;
  resolver: NameResolver;
  announcement: Announcement | undefined;
}

class ResolvedNames implements Names {
  readonly peers: FoundPeers;
  readonly #request: NamesRequest;
  readonly #secrets: PeerSecrets | undefined;
  readonly #secret: SharedSecret | undefined;
  #used: Used | undefined;
  #self: AnnouncedRuntime | undefined;
  #applying: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(request: NamesRequest, secrets: PeerSecrets | undefined) {
    const { host, options, resources, security, log } = request;
    this.#request = request;
    this.#secrets = secrets;
    this.#secret = secrets && new SharedSecret(() => secrets.all, host.clock);
    this.peers = new FoundPeers({
      ...{ registry: host.registry, clock: host.clock, log, security, secret: this.#secret },
      principal: principalOf(options),
      trustDomain: () => resources.configuration.accessControl?.trustDomain ?? trustDomainDefault,
    });
  }

  get isNetworked(): boolean {
    return this.#used?.resolver.reach === "network";
  }

  outsiders(): { secret: SharedSecret | undefined } | undefined {
    return this.#used === undefined ? undefined : { secret: this.#secret };
  }

  async announce(self: AnnouncedRuntime): Promise<void> {
    this.#self = self;
    if (this.#used === undefined) return;
    this.#used.announcement = await this.#used.resolver.announce?.(self);
    this.#warnOfLoopback(this.#used.resolver, self);
  }

  async withdraw(): Promise<void> {
    this.#self = undefined;
    await this.#applying;
    const { announcement } = this.#used ?? {};
    if (this.#used !== undefined) this.#used.announcement = undefined;
    await announcement?.close();
  }

  reload(wanted: NameResolution | undefined): void {
    const { log } = this.#request;
    this.#applying = this.#applying
      .then(() => this.apply(wanted))
      .catch((error: Error) =>
        log.error({}, `the changed spec.nameResolution can not be used: ${error.message}`),
      );
  }

  /** The new one is open, and tells of this runtime, before the old one is closed. */
  async apply(wanted: NameResolution | undefined): Promise<void> {
    const text = JSON.stringify(wanted) ?? "";
    const old = this.#used;
    if (this.#isClosed || text === (old?.wanted ?? "")) return;
    const next = wanted === undefined || !this.#canProve(wanted) ? undefined : await this.#open(wanted, text);
    this.#used = next;
    const finder = next && wanted && this.#finderOf(next.resolver, wanted.component);
    this.peers.use(finder);
    if (old !== undefined) await this.#leave(old);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#applying;
    this.peers.use(undefined);
    this.#secrets?.close();
    const used = this.#used;
    this.#used = undefined;
    if (used !== undefined) await this.#leave(used);
  }

  async #open(wanted: NameResolution, text: string): Promise<Used> {
    const { host, options, log } = this.#request;
    const type = `nameresolution.${wanted.component}`;
    const { instance } = await openComponent(
      {
        ...{ name: "nameresolution", type, version: wanted.version, items: wanted.items },
        ...{ ignoresErrors: false, initTimeoutMs, secretStore: "", resource: undefined },
      },
      {
        ...{
          definitions: definitionsOf([]),
          principal: principalOf(options),
          edges: host.edges,
          env: host.env,
        },
        ...{ log, isPatient: !options.isStrict, ignoresUnknown: options.isStrict, secretStoreOf: noSecrets },
      },
    ).catch((error: Error) => {
      throw new Error(`spec.nameResolution (${type}/${wanted.version}): ${error.message}`, { cause: error });
    });
    const resolver = instance as NameResolver;
    const self = this.#self;
    try {
      const announcement = self && (await resolver.announce?.(self));
      this.#warnOfLoopback(resolver, self);
      log.info({}, `Initialized name resolution to ${wanted.component}`);
      return { wanted: text, resolver, announcement };
    } catch (error) {
      await resolver.close();
      throw error;
    }
  }

  #finderOf(resolver: NameResolver, name: string) {
    const { host, options } = this.#request;
    return {
      name,
      freshMs: resolver.freshMs,
      find: (app: { appId: string; namespace: string }) => {
        const port = this.#self?.port ?? options.internalGrpcPort;
        return withinTime(host.clock, findMs, resolver.find({ ...app, port }));
      },
    };
  }

  /** Whoever can not read the registry has to prove itself otherwise; without a way to, nobody would be let in. */
  #canProve({ component }: NameResolution): boolean {
    const { options, security, log } = this.#request;
    if (security !== undefined || this.#secret !== undefined) return true;
    const what = `spec.nameResolution.component ${component}: runtimes that are found by it can not prove who they are`;
    const instead =
      "give all of them one secret (MECHA_PEER_TOKEN, or --peer-token-file) or turn mTLS on with one authority";
    if (!options.isStrict) throw new Error(`${what}: ${instead}`);
    log.warn({}, `${what}, so the registry of the data folder is used in its place: ${instead}`);
    return false;
  }

  #warnOfLoopback({ reach }: NameResolver, self: AnnouncedRuntime | undefined): void {
    if (reach !== "network" || self === undefined || !/^(127\.|::1$)/.test(self.host)) return;
    const text = `the internal port listens on ${self.host} alone: other machines do not reach it`;
    this.#request.log.warn({}, `${text} (DAPR_HOST_IP, --dapr-internal-grpc-listen-address)`);
  }

  async #leave({ announcement, resolver }: Used): Promise<void> {
    try {
      await announcement?.close();
      await resolver.close();
    } catch (error) {
      this.#request.log.warn({ error }, "the name resolution could not be closed");
    }
  }
}

function noSecrets(): never {
  throw new Error("secretKeyRef has no place in spec.nameResolution");
}
