import { Authority, leafLifeDefaultMs, skewDefaultMs } from "../control/identity/authority.ts";
import { openFolderVault } from "../control/identity/folder-vault.ts";
import { externalCredentials, issuedCredentials } from "../control/identity/sources.ts";
import type { CredentialSource, Workload } from "../control/identity/workload.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import { type MutualTls, type MutualTlsTerms, openMutualTls } from "./mutual-tls.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";
import { createStoreVault } from "./store-vault.ts";

export interface PeerSecurityRequest {
  host: Host;
  options: RuntimeOptions;
  resources: Pick<RuntimeResources, "configuration" | "onConfiguration">;
  log: Log;
}

/** `undefined`: mTLS is off. */
export async function openPeerSecurity(request: PeerSecurityRequest): Promise<MutualTls | undefined> {
  const { host, options, resources, log } = request;
  const terms = termsOf(request);
  if (terms.mode === "off") {
    resources.onConfiguration(() => {
      if (termsOf(request).mode !== "off") log.warn({}, "mTLS is turned on at the next start");
    });
    return undefined;
  }
  const app = principalOf(options);
  const security = await openMutualTls({
    ...{ app, terms, log, edges: host.edges },
    isNamedByFiles: options.certificates !== undefined,
    sourceOf: (now) => sourceOf(request, now),
  });
  const { workload } = security;
  log.info({}, `mTLS between runtimes is ${terms.mode}, as ${security.shown.spiffeId}`);
  warnOfOldRoot(workload, request);
  workload.onChange(() => warnOfOldRoot(workload, request));
  resources.onConfiguration(() => security.follow(termsOf(request)));
  return security;
}

const rootWarningMs = 30 * 86_400_000;

/** Of roots in files, or that no new one could be made for. */
function warnOfOldRoot(workload: Workload, { host: { clock }, log }: PeerSecurityRequest): void {
  const lastMs = Math.max(...workload.current.roots.map(({ notAfterMs }) => notAfterMs));
  if (lastMs - clock.now() > rootWarningMs) return;
  log.warn(
    {},
    `the root of mTLS ends at ${new Date(lastMs).toISOString()}: replace the bundle in the file, or see mecha identity rotate`,
  );
}

function termsOf({ host, options, resources: { configuration } }: PeerSecurityRequest): MutualTlsTerms {
  const { accessControl, mtls } = configuration;
  return {
    mode: modeOf(mtls?.mode, host, options),
    trustDomain: accessControl?.trustDomain ?? trustDomainDefault,
    lifeMs: mtls?.certificateLifeMs ?? leafLifeDefaultMs,
    skewMs: mtls?.clockSkewMs ?? skewDefaultMs,
  };
}

function modeOf(
  configured: MutualTlsTerms["mode"] | undefined,
  host: Host,
  options: RuntimeOptions,
): MutualTlsTerms["mode"] {
  if (options.enableMtls === false) return "off";
  if (options.enableMtls === true) return configured === "permissive" ? configured : "strict";
  if (configured !== undefined) return configured;
  return host.isShared || options.certificates !== undefined ? "strict" : "off";
}

function sourceOf({ host, options, log }: PeerSecurityRequest, now: () => MutualTlsTerms): CredentialSource {
  const { edges } = host;
  const name = principalOf(options);
  const skewMs = () => now().skewMs;
  if (options.certificates !== undefined)
    return externalCredentials({ from: options.certificates, expected: name, skewMs, edges });
  const terms = () => ({ ...now(), id: { ...name, trustDomain: now().trustDomain } });
  return issuedCredentials({ authority: openAuthority(host), terms, edges, log });
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
