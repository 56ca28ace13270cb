import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { type Certificate, readCertificate } from "../control/identity/certificate.ts";
import { formatSpiffeId } from "../control/identity/spiffe-id.ts";
import { PeerRefused, type TrustRules, type Verified, verifyPeer } from "../control/identity/verify.ts";
import type { Workload } from "../control/identity/workload.ts";
import type { Clock, ClockTimer } from "../edges/clock.ts";
import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import { trunkProtocol } from "../net/trunk/protocol.ts";
import type { AppName } from "../peer/identity.ts";
import { errorReply } from "../peer/peer-link.ts";
import type { PeerCaller, PeerPort, PeerSecurity, PeerTls } from "../peer/security.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { FrontTargets } from "./listeners.ts";

export interface SecurePortOptions {
  workload: Workload;
  app: AppName;
  terms: PortTerms;
  clock: Clock;
  log: Log;
}

/** What may change while the port is open. */
export interface PortTerms {
  isRequired: boolean;
  skewMs: number;
}

const handshakeMs = 10_000;
/** Connections whose peer is not known yet. */
const handshakesMax = 1000;
const sweepEveryMs = 30_000;
/** A refused peer may still send for so long, so that it gets to read why. */
const refusalMs = 1000;
const logEveryMs = 1000;
const tlsFirstByte = 0x16;
const protocol = "TLSv1.3";
const protocols = [trunkProtocol, "h2", "http/1.1"];

/** TLS 1.3 at an app's peer port and towards others, both sides with certificates; who is who is judged here alone. */
export class SecurePort implements PeerSecurity {
  readonly app: AppName;
  tls: PeerTls;
  readonly #options: SecurePortOptions;
  readonly #addresses = new WeakMap<object, { generation: number; tls: PeerTls; address: HttpAddress }>();
  readonly #callers = new WeakMap<object, PeerCaller>();
  readonly #accepted = new Map<TLSSocket, Verified>();
  readonly #pending = new Set<Socket>();
  readonly #listeners: (() => Promise<void> | void)[] = [];
  #skewMs: number;
  #plain: FrontTargets | undefined;
  #context: SecureContext;
  #sweeper: ClockTimer | undefined;
  #loggedMs = Number.NEGATIVE_INFINITY;

  constructor(options: SecurePortOptions) {
    const { app, terms, workload } = options;
    this.#options = options;
    this.app = app;
    this.tls = { trustDomain: workload.current.id.trustDomain, isRequired: terms.isRequired };
    this.#skewMs = terms.skewMs;
    this.#context = this.#newContext();
    workload.onChange(() => {
      this.#context = this.#newContext();
      this.#sweep();
    });
    this.#sweepLater();
  }

  readonly front = (raw: Socket, into: FrontTargets): void => {
    if (this.#pending.size >= handshakesMax) {
      raw.destroy();
      return;
    }
    this.#pending.add(raw);
    const timer = this.#options.clock.setTimer(handshakeMs, () => raw.destroy(), { background: true });
    const settle = (): void => {
      timer.cancel();
      this.#pending.delete(raw);
    };
    raw.on("error", ignore);
    raw.once("close", settle);
    if (this.tls.isRequired) this.#secure(raw, into, settle);
    else this.#tellApart(raw, into, settle);
  };

  onChange(listener: () => Promise<void> | void): void {
    this.#listeners.push(listener);
  }

  /** Rejects when others could not be told; it holds here all the same. */
  async announce(changes: Partial<PeerTls>): Promise<void> {
    this.tls = { ...this.tls, ...changes };
    await Promise.all(this.#listeners.map((listener) => listener()));
  }

  /** Connections that the new terms do not allow end with the requests that are under way on them. */
  async apply({ isRequired, skewMs }: PortTerms): Promise<void> {
    this.#skewMs = skewMs;
    const { trustDomain } = this.#options.workload.current.id;
    const told = this.announce({ trustDomain, nextTrustDomain: undefined, isRequired });
    if (isRequired) this.#plain?.retirePlain();
    this.#sweep();
    await told;
  }

  addressOf(callee: PeerPort & { tls: PeerTls }): HttpAddress {
    const { generation } = this.#options.workload;
    const { host, port, tls, namespace, appId } = callee;
    const known = this.#addresses.get(callee);
    if (known?.generation === generation && known.tls === tls) return known.address;
    const trustDomains = [
      tls.trustDomain,
      ...(tls.nextTrustDomain === undefined ? [] : [tls.nextTrustDomain]),
    ];
    const expected = trustDomains.map((trustDomain) => formatSpiffeId({ trustDomain, namespace, appId }));
    const own = formatSpiffeId(this.#options.workload.current.id);
    const address: HttpAddress = {
      host,
      port,
      tls: {
        secureContext: this.#context,
        minVersion: protocol,
        // Judged in `verify`, with the clocks' skew and by the whole id.
        rejectUnauthorized: false,
        serverName: "",
        mayShare: true,
        identity: `${own} ${generation} ${expected.join(" ")}`,
        verify: (socket) => this.#checkCallee(socket, expected),
      },
    };
    this.#addresses.set(callee, { generation, tls, address });
    return address;
  }

  callerOf(connection: object | undefined): PeerCaller | undefined {
    return connection && this.#callers.get(connection);
  }

  stop(): void {
    this.#sweeper?.cancel();
    for (const raw of this.#pending) raw.destroy();
  }

  #newContext(): SecureContext {
    const { cert, key, roots } = this.#options.workload.current;
    return createSecureContext({
      cert,
      key,
      ca: roots.map(({ x509 }) => x509.toString()),
      minVersion: protocol,
      maxVersion: protocol,
      // Each connection shows its certificate: nobody comes back with a ticket of a time when it was still valid.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
  }

  /** Permissive: what begins as TLS is TLS. */
  #tellApart(raw: Socket, into: FrontTargets, settle: () => void): void {
    raw.once("readable", () => {
      const first = raw.read() as Buffer | null;
      if (first === null) {
        raw.destroy();
        return;
      }
      if (first[0] === tlsFirstByte || this.tls.isRequired) {
        raw.unshift(first);
        this.#secure(raw, into, settle);
        return;
      }
      settle();
      this.#plain = into;
      into.plain(raw);
      // Whoever has taken it over hears what was read already.
      raw.push(first);
      raw.read(0);
    });
  }

  #secure(raw: Socket, into: FrontTargets, settle: () => void): void {
    const socket = new TLSSocket(raw, {
      isServer: true,
      secureContext: this.#context,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: protocols,
    });
    socket.on("error", (error) => {
      if (!this.#accepted.has(socket)) this.#tell(raw, error.message);
    });
    socket.once("secure", () => {
      settle();
      this.#judge(socket, into);
    });
  }

  #judge(socket: TLSSocket, into: FrontTargets): void {
    try {
      const verified = verifiedPeer(socket, this.#rules("client"));
      this.#accepted.set(socket, verified);
      socket.once("close", () => this.#accepted.delete(socket));
      const caller: PeerCaller = { ...verified.id, isProven: true };
      this.#callers.set(socket, caller);
      if (socket.alpnProtocol === trunkProtocol)
        into.trunk(socket, (channel) => this.#callers.set(channel, caller));
      else if (socket.alpnProtocol === "h2") into.http2(socket);
      else into.http1(socket);
    } catch (error) {
      if (!(error instanceof PeerRefused)) throw error;
      this.#tell(socket, error.message);
      refuse(socket);
    }
  }

  #checkCallee(socket: TLSSocket, expected: readonly string[]): void {
    try {
      const { id } = verifiedPeer(socket, this.#rules("server"));
      const found = formatSpiffeId(id);
      if (!expected.includes(found))
        throw new PeerRefused(`its certificate names ${found}, and ${expected.join(" or ")} was meant`);
    } catch (error) {
      const reason = (error as Error).message;
      this.#tell(socket, reason);
      throw new PeerRefused(`the peer was refused: ${reason}`);
    }
  }

  #rules(role: TrustRules["role"]): TrustRules {
    const { workload, clock } = this.#options;
    return { roots: workload.current.roots, nowMs: clock.now(), skewMs: this.#skewMs, role };
  }

  /** Why somebody was refused is told here, at most once a second; the other side learns that it was. */
  #tell({ remoteAddress = "", remotePort = 0 }: Socket, reason: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#loggedMs < logEveryMs) return;
    this.#loggedMs = nowMs;
    this.#options.log.warn({ peer: `${remoteAddress}:${remotePort}` }, `a peer was refused: ${reason}`);
  }

  /** Connections live no longer than what they were believed for. */
  #sweep(): void {
    const { workload, clock } = this.#options;
    const trusted = new Set(workload.current.roots.map(({ fingerprint }) => fingerprint));
    const oldestMs = clock.now() - this.#skewMs;
    for (const [socket, { root, notAfterMs }] of this.#accepted) {
      if (!trusted.has(root.fingerprint) || notAfterMs < oldestMs) socket.destroy();
    }
  }

  #sweepLater(): void {
    const again = (): void => {
      this.#sweep();
      this.#sweepLater();
    };
    this.#sweeper = this.#options.clock.setTimer(sweepEveryMs, again, { background: true });
  }
}

/** Who is at the other end, after the handshake. Throws PeerRefused. */
function verifiedPeer(socket: TLSSocket, rules: TrustRules): Verified {
  if (socket.getProtocol() !== protocol)
    throw new PeerRefused(`it speaks ${socket.getProtocol()}, not ${protocol}`);
  const { alpnProtocol } = socket;
  if (typeof alpnProtocol !== "string" || !protocols.includes(alpnProtocol))
    throw new PeerRefused("it has not agreed on a protocol (ALPN)");
  return verifyPeer(shownChain(socket), rules);
}

const chainMax = 5;

function shownChain(socket: TLSSocket): Certificate[] {
  const chain: Certificate[] = [];
  try {
    let next = socket.getPeerCertificate(true);
    while (next?.raw && chain.length < chainMax) {
      chain.push(readCertificate(next.raw));
      if (next.issuerCertificate === next) break;
      next = next.issuerCertificate;
    }
  } catch (error) {
    throw new PeerRefused(`its certificate can not be read: ${(error as Error).message}`);
  }
  return chain;
}

const refusalText =
  "the callee does not accept the certificate of this mecha: its log says why (is the trust bundle there an older one?)";

/** Tells HTTP/1.1 callers that it is no use to try again; nothing they have sent is read. */
function refuse(socket: TLSSocket): void {
  const { headers } = errorReply(new GrpcError(Code.Unauthenticated, refusalText));
  const lines: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  if (socket.alpnProtocol !== "http/1.1") {
    socket.destroy();
    return;
  }
  socket.end(
    `HTTP/1.1 403 Forbidden\r\n${lines.join("\r\n")}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  );
  socket.resume();
  setTimeout(() => socket.destroy(), refusalMs).unref();
}

function ignore(): void {}
