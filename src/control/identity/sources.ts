import { createPrivateKey } from "node:crypto";
import type { ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type Authority, issueWorkload } from "./authority.ts";
import { type Certificate, readCertificate, readCertificates } from "./certificate.ts";
import { formatSpiffeId, type SpiffeId } from "./spiffe-id.ts";
import { PeerRefused, verifyPeer } from "./verify.ts";
import type { CredentialSource, Credentials } from "./workload.ts";

export interface IssuedOptions {
  authority: Authority;
  /** As they are when a certificate is made. */
  terms(): { id: SpiffeId; lifeMs: number; skewMs: number };
  edges: Pick<Edges, "clock" | "random">;
  log: Log;
}

const renewedAfter = 0.7;
const jitter = 0.1;
const pauseMinMs = 500;

/** Certificates of mecha's own authority. */
export function issuedCredentials({ authority, terms, edges, log }: IssuedOptions): CredentialSource {
  let used = "";
  return {
    async load() {
      const { id, lifeMs, skewMs } = terms();
      const uri = formatSpiffeId(id);
      await renewRoots(authority, log);
      const view = await authority.open();
      const nowMs = edges.clock.now();
      used = view.version;
      const share = renewedAfter - edges.random.next() * jitter;
      const pair = issueWorkload(view, { uri, nowMs, lifeMs, skewMs });
      const leftMs = readCertificate(pair.cert).notAfterMs - nowMs;
      const changes = [view.nextSignerAtMs, view.nextRootDueMs].filter((atMs = 0) => atMs > nowMs);
      const renewAtMs = Math.max(
        Math.min(nowMs + leftMs * share, ...(changes as number[])),
        nowMs + pauseMinMs,
      );
      const roots = view.roots.map(({ certificate }) => certificate);
      return { id, ...pair, roots, renewAtMs };
    },
    watch(listener) {
      // A feed of the store may fire without a change.
      const check = async (): Promise<void> => {
        const view = await authority.find().catch(() => undefined);
        if (view !== undefined && view.version !== used) listener();
      };
      return authority.watch(() => void check());
    },
  };
}

async function renewRoots(authority: Authority, log: Log): Promise<void> {
  try {
    const signsFromMs = await authority.renewRoots();
    if (signsFromMs === undefined) return;
    const from = new Date(signsFromMs).toISOString();
    log.warn(
      {},
      `mTLS has a new root, which signs from ${from}: replace bundles in files before (mecha identity bundle)`,
    );
  } catch (error) {
    log.error({ error }, "the root of mTLS comes to its end, and a new one could not be made");
  }
}

/** PEM texts, or where they are; texts do not change. */
export interface ExternalCredentials {
  ca: { file: string } | { text: string };
  cert: { file: string } | { text: string };
  key: { file: string } | { text: string };
}

export interface ExternalOptions {
  from: ExternalCredentials;
  expected: Pick<SpiffeId, "namespace" | "appId">;
  /** As it is when a certificate is judged. */
  skewMs(): number;
  edges: Pick<Edges, "clock" | "files">;
}

const lookEveryMs = 1000;

/** Certificates that somebody else's authority writes; files are looked at again and again. */
export function externalCredentials(options: ExternalOptions): CredentialSource {
  const { from, edges } = options;
  const read = (): Promise<string[]> =>
    Promise.all([from.ca, from.cert, from.key].map((one) => textOf(one, edges)));
  let used = "";
  let trustDomain: string | undefined;
  return {
    async load() {
      const texts = await read();
      used = texts.join("\0");
      const [ca = "", cert = "", key = ""] = texts;
      const credentials = credentialsOf({ ca, cert, key }, options);
      trustDomain ??= credentials.id.trustDomain;
      if (credentials.id.trustDomain !== trustDomain)
        throw new Error(`the new certificate names ${formatSpiffeId(credentials.id)}`);
      return credentials;
    },
    watch: (listener) =>
      watchTexts(async () => (await read()).join("\0"), { edges, isUsed: (text) => text === used, listener }),
  };
}

async function textOf(
  one: { file: string } | { text: string },
  { files }: Pick<Edges, "files">,
): Promise<string> {
  return "text" in one ? one.text : Buffer.from(await files.read(one.file)).toString("utf8");
}

interface TextWatch {
  edges: Pick<Edges, "clock">;
  isUsed(text: string): boolean;
  listener: () => void;
}

/** A change counts when two looks found the same, so that nobody reads half of it. */
function watchTexts(read: () => Promise<string>, { edges, isUsed, listener }: TextWatch): () => void {
  let timer: ClockTimer;
  let seen = "";
  let isOver = false;
  const look = async (): Promise<void> => {
    const text = await read().catch(() => undefined);
    if (text !== undefined && text === seen && !isUsed(text)) listener();
    seen = text ?? "";
    if (!isOver) later();
  };
  const later = (): void => {
    timer = edges.clock.setTimer(lookEveryMs, () => void look(), { background: true });
  };
  later();
  return () => {
    isOver = true;
    timer.cancel();
  };
}

function credentialsOf(
  pem: { ca: string; cert: string; key: string },
  options: ExternalOptions,
): Credentials {
  const { expected, edges } = options;
  const roots = readCertificates(pem.ca);
  const chain = readCertificates(pem.cert);
  const id = idOf(chain, roots, { nowMs: edges.clock.now(), skewMs: options.skewMs() });
  if (id.appId !== expected.appId || id.namespace !== expected.namespace) {
    const wanted = `namespace ${expected.namespace}, app ${expected.appId}`;
    throw new Error(`the certificate names ${formatSpiffeId(id)}, and this is ${wanted}`);
  }
  if (!chain[0]?.x509.checkPrivateKey(createPrivateKey(pem.key)))
    throw new Error("the key is not that of the certificate");
  return { id, cert: pem.cert, key: pem.key, roots, renewAtMs: undefined };
}

/** The own certificate passes the check that peers will make. */
function idOf(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  times: { nowMs: number; skewMs: number },
): SpiffeId {
  try {
    verifyPeer(chain, { roots, ...times, role: "client" });
    return verifyPeer(chain, { roots, ...times, role: "server" }).id;
  } catch (error) {
    if (!(error instanceof PeerRefused)) throw error;
    throw new Error(`peers would refuse this mecha's own certificate: ${error.message}`, { cause: error });
  }
}
