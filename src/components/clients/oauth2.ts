import { ServerUnavailable } from "../../component/server-unavailable.ts";
import type { Clock } from "../../edges/clock.ts";
import { fetchJson } from "./fetch-json.ts";

export interface OAuth2Client {
  clock: Clock;
  clientId: string;
  clientSecret: string;
  tokenUrl: string;
  /** How the client says who it is: in the form, by basic authentication, or whichever works. */
  authStyle: "auto" | "form" | "basic";
}

export interface OAuth2Token {
  /** As the header has it: type and token. */
  header: string;
  /** `undefined`: the server did not say. */
  expiresInS: number | undefined;
}

const timeoutMs = 10_000;

/** Asks the token endpoint (RFC 6749 §3.2). */
export async function requestToken(client: OAuth2Client, form: URLSearchParams): Promise<OAuth2Token> {
  if (client.authStyle !== "auto") return ask(client, form, client.authStyle);
  try {
    return await ask(client, form, "basic");
  } catch (error) {
    // Nobody said no.
    if (error instanceof ServerUnavailable) throw error;
    return ask(client, form, "form").catch(() => {
      throw error;
    });
  }
}

async function ask(
  client: OAuth2Client,
  form: URLSearchParams,
  style: "form" | "basic",
): Promise<OAuth2Token> {
  const { clientId, clientSecret, tokenUrl, clock } = client;
  const body = new URLSearchParams(form);
  const headers: Record<string, string> = { "Content-Type": "application/x-www-form-urlencoded" };
  if (style === "basic") {
    const pair = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`;
    headers.Authorization = `Basic ${Buffer.from(pair).toString("base64")}`;
  } else {
    body.set("client_id", clientId);
    body.set("client_secret", clientSecret);
  }
  const question = { method: "POST", headers, body: body.toString(), timeoutMs, clock } as const;
  const answer = await fetchJson(tokenUrl, question);
  const { access_token: token, token_type: type, expires_in: expires } = answer;
  if (typeof token !== "string" || token === "") throw new Error(`${tokenUrl} answered no access_token`);
  const shown = typeof type === "string" && !/^bearer$/i.test(type) ? type : "Bearer";
  return { header: `${shown} ${token}`, expiresInS: typeof expires === "number" ? expires : undefined };
}
