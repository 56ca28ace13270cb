/** Who a workload is: `spiffe://<trust domain>/ns/<namespace>/<app id>`, as in Dapr. */
export interface SpiffeId {
  trustDomain: string;
  namespace: string;
  appId: string;
}

const trustDomainPattern = /^[a-z0-9._-]{1,255}$/;
const segmentPattern = /^[A-Za-z0-9._-]{1,255}$/;

/** Throws when a part has characters that a SPIFFE id can not carry. */
export function formatSpiffeId({ trustDomain, namespace, appId }: SpiffeId): string {
  const domain = `the trust domain "${trustDomain}" has other characters than a-z, 0-9, ".", "_" and "-"`;
  if (!trustDomainPattern.test(trustDomain)) throw new Error(`${domain}: mTLS can not name it`);
  for (const [what, text] of [
    ["namespace", namespace],
    ["app id", appId],
  ] as const) {
    if (isSegment(text)) continue;
    throw new Error(
      `the ${what} "${text}" has other characters than letters, digits, ".", "_" and "-": mTLS can not name it`,
    );
  }
  return `spiffe://${trustDomain}/ns/${namespace}/${appId}`;
}

/** Letter by letter: nothing is decoded, folded or normalised. `undefined` for what is no workload's id. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  const [scheme, empty, trustDomain = "", ns, namespace = "", appId = "", ...rest] = text.split("/");
  if (scheme !== "spiffe:" || empty !== "" || ns !== "ns" || rest.length > 0) return undefined;
  if (!trustDomainPattern.test(trustDomain) || !isSegment(namespace) || !isSegment(appId)) return undefined;
  return { trustDomain, namespace, appId };
}

function isSegment(text: string): boolean {
  return segmentPattern.test(text) && text !== "." && text !== "..";
}
