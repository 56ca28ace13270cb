import { ConnectError } from "../net/http1/errors.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import { type AppName, appText } from "./identity.ts";

/** What a mecha announces of its peer port when it speaks TLS there. */
export interface PeerTls {
  /** Of the id that its certificate has. */
  trustDomain: string;
  /** Of the id that its next certificate has, while it changes its name. */
  nextTrustDomain?: string | undefined;
  /** Plain connections are refused. */
  isRequired: boolean;
}

/** A peer port, as the registry or an actor host announces it. */
export interface PeerPort extends AppName {
  host: string;
  port: number;
  tls?: PeerTls | undefined;
}

export interface PeerCaller extends AppName {
  trustDomain: string;
  /** A certificate says so, not the caller's word. */
  isProven?: boolean;
}

/** mTLS of one app with its peers; absent where it is off. */
export interface PeerSecurity {
  /** Another object with each change. */
  readonly tls: PeerTls;
  /** Called when there is something else to announce; the change waits until that is done. */
  onChange(listener: () => Promise<void> | void): void;
  /** Whose certificate it is: the one app that is reached by it. */
  readonly app: AppName;
  /** How to reach a peer that speaks TLS, and nobody else in its place. The same object while nothing has changed. */
  addressOf(callee: PeerPort & { tls: PeerTls }): HttpAddress;
  /** Whom the certificate of a connection names; `undefined` for a plain one. */
  callerOf(connection: object | undefined): PeerCaller | undefined;
}

/** Where to send a call for a peer. Throws ConnectError when the two can not agree on mTLS: nothing was sent then. */
export function addressTo(
  callee: PeerPort & { address?: HttpAddress },
  security: PeerSecurity | undefined,
): HttpAddress {
  const { tls, host, port } = callee;
  if (security !== undefined && tls !== undefined)
    return security.addressOf(callee as PeerPort & { tls: PeerTls });
  if (security?.tls.isRequired)
    throw refused(
      `${appText(callee)} at ${host}:${port} announces no mTLS, and it is required here (mtls.mode strict)`,
    );
  if (security === undefined && tls?.isRequired)
    throw refused(`${appText(callee)} at ${host}:${port} requires mTLS, and it is off here (--enable-mtls)`);
  return callee.address ?? { host, port };
}

function refused(reason: string): ConnectError {
  return new ConnectError(reason, "EPEERTLS");
}
