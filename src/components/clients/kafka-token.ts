import type { Clock } from "../../edges/clock.ts";
import type { KafkaSettings } from "./kafka-address.ts";
import { requestToken } from "./oauth2.ts";

/** A token is got anew so long before it ends. */
const spareMs = 10_000;
/** When the provider does not say how long a token is good. */
const unknownMs = 60_000;

export interface TokenSource {
  token: () => Promise<string>;
  extensions: Record<string, string>;
}

/** Tokens of an identity provider by the client's secret, kept while they are good. Throws with what is missing. */
export function kafkaTokenSource(settings: KafkaSettings, clock: Clock): TokenSource {
  const { oidcTokenEndpoint: tokenUrl, oidcClientID: clientId, oidcClientSecret: clientSecret } = settings;
  if (!tokenUrl) throw new Error("oidcTokenEndpoint is missing, for authType oidc");
  if (!clientId) throw new Error("oidcClientID is missing, for authType oidc");
  if (!clientSecret) throw new Error("oidcClientSecret is missing, for authType oidc");
  const scope = settings.oidcScopes.join(" ");
  const client = { clientId, clientSecret, tokenUrl, authStyle: "auto", clock } as const;
  let kept: { token: Promise<string>; endsAtMs: number } | undefined;
  const ask = async (): Promise<string> => {
    const form = new URLSearchParams({ grant_type: "client_credentials", ...(scope && { scope }) });
    const { header, expiresInS } = await requestToken(client, form);
    if (kept !== undefined)
      kept.endsAtMs = clock.monotonicMs() + (expiresInS ? expiresInS * 1000 : unknownMs);
    return header.slice(header.indexOf(" ") + 1);
  };
  return {
    token: () => {
      if (kept !== undefined && clock.monotonicMs() < kept.endsAtMs - spareMs) return kept.token;
      const asked = { token: ask(), endsAtMs: Number.POSITIVE_INFINITY };
      kept = asked;
      asked.token.catch(() => {
        if (kept === asked) kept = undefined;
      });
      return asked.token;
    },
    extensions: extensionsOf(settings.oidcExtensions),
  };
}

function extensionsOf(text: string | undefined): Record<string, string> {
  if (!text) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, String(one)]));
    }
  } catch {
    // Said below.
  }
  throw new Error("oidcExtensions is no JSON object of texts");
}
