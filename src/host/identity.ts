import { Authority, leafLifeDefaultMs, skewDefaultMs } from "../control/identity/authority.ts";
import { openFolderVault } from "../control/identity/folder-vault.ts";
import { externalCredentials, issuedCredentials } from "../control/identity/sources.ts";
import { formatSpiffeId } from "../control/identity/spiffe-id.ts";
import { type CredentialSource, Workload } from "../control/identity/workload.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { PeerSecurity } from "../peer/security.ts";
import type { Configuration } from "../resource/resource.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { SecureFront } from "./listeners.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";
import { SecurePort } from "./secure-port.ts";
import { createStoreVault } from "./store-vault.ts";

/** mTLS of one app, both ways. */
export interface SecurePeers extends PeerSecurity {
  readonly front: SecureFront;
  /** For the metadata API. */
  readonly shown: Record<string, string>;
  close(): Promise<void>;
}

export interface PeerSecurityRequest {
  host: Host;
  options: RuntimeOptions;
  resources: Pick<RuntimeResources, "configuration" | "onConfiguration">;
  log: Log;
}

/** `undefined`: mTLS is off. */
export async function openPeerSecurity(request: PeerSecurityRequest): Promise<SecurePeers | undefined> {
  const { host, options, resources, log } = request;
  const { configuration } = resources;
  const mode = modeOf(request);
  resources.onConfiguration((changed) => {
    if (JSON.stringify(changed.mtls) === JSON.stringify(configuration.mtls)) return;
    log.warn({}, "the changed spec.mtls takes effect at the next start");
  });
  if (mode === "off") return undefined;
  const skewMs = configuration.mtls?.clockSkewMs ?? skewDefaultMs;
  const workload = new Workload({ source: sourceOf(request, skewMs), edges: host.edges, log });
  await workload.open();
  const port = new SecurePort({
    ...{ workload, skewMs, log, clock: host.clock },
    app: principalOf(options),
    isRequired: mode === "strict",
  });
  const id = formatSpiffeId(workload.current.id);
  log.info({}, `mTLS between runtimes is ${mode}, as ${id}`);
  warnOfOldRoot(workload, request);
  workload.onChange(() => warnOfOldRoot(workload, request));
  if (mode === "permissive") log.warn({}, "mtls.mode permissive: peers without a certificate are let in too");
  return Object.assign(port, {
    shown: { mtls: mode, spiffeId: id },
    async close() {
      port.stop();
      await workload.close();
    },
  });
}

const rootWarningMs = 30 * 86_400_000;

/** Nothing takes its place by itself: other machines have to hear of a new one first. */
function warnOfOldRoot(workload: Workload, { host: { clock }, log }: PeerSecurityRequest): void {
  const lastMs = Math.max(...workload.current.roots.map(({ notAfterMs }) => notAfterMs));
  if (lastMs - clock.now() > rootWarningMs) return;
  log.warn({}, `the root of mTLS ends at ${new Date(lastMs).toISOString()}: see mecha identity rotate`);
}

type Mode = NonNullable<NonNullable<Configuration["mtls"]>["mode"]>;

function modeOf({ host, options, resources: { configuration } }: PeerSecurityRequest): Mode {
  const mode = configuration.mtls?.mode;
  if (options.enableMtls === false) return "off";
  if (options.enableMtls === true) return mode === "permissive" ? mode : "strict";
  if (mode !== undefined) return mode;
  return host.isShared || options.certificates !== undefined ? "strict" : "off";
}

function sourceOf({ host, options, resources }: PeerSecurityRequest, skewMs: number): CredentialSource {
  const { edges } = host;
  const name = principalOf(options);
  if (options.certificates !== undefined)
    return externalCredentials({ from: options.certificates, expected: name, skewMs, edges });
  const { accessControl, mtls } = resources.configuration;
  const id = { ...name, trustDomain: accessControl?.trustDomain ?? trustDomainDefault };
  const lifeMs = mtls?.certificateLifeMs ?? leafLifeDefaultMs;
  return issuedCredentials({ authority: openAuthority(host), id, lifeMs, skewMs, edges });
}

export type AuthorityHost = Pick<Host, "dataFolder" | "clock" | "env"> &
  ({ isShared: false } | { isShared: boolean; store: Host["store"] });

/** That of the machines that share the store, or of this one. */
export function openAuthority(host: AuthorityHost): Authority {
  const { dataFolder, clock, env } = host;
  const isShared = host.isShared && "store" in host;
  const vault = isShared ? createStoreVault(host.store) : openFolderVault(dataFolder, clock);
  return new Authority({ vault, clock, secret: env.MECHA_IDENTITY_SECRET || undefined });
}
