import { createHttpClient } from "../../net/http1/client.ts";
import type { HttpAddress } from "../../net/http1/types.ts";

export interface JsonRequest {
  /** For the whole exchange. */
  timeoutMs: number;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

const answerBytesMax = 1 << 20;

/** Asks for a JSON object. Rejects with the address and the reason when there is none within the time. */
export async function fetchJson(url: string, request: JsonRequest): Promise<Record<string, unknown>> {
  const { status, text } = await exchange(url, request).catch((error: Error) => {
    throw new Error(`${url} could not be reached: ${error.message}`, { cause: error });
  });
  if (status < 200 || status > 299) throw new Error(`${url} answered ${status}: ${text.slice(0, 200)}`);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`${url} answered no JSON object`);
}

async function exchange(url: string, request: JsonRequest): Promise<{ status: number; text: string }> {
  const { timeoutMs, method = "GET", headers = {}, body } = request;
  const client = createHttpClient();
  try {
    const { address, target } = addressOf(new URL(url));
    const response = await client.request(address, {
      ...{ method, target, body, headers: Object.entries(headers).flat() },
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = Buffer.from(await response.body.bytes(answerBytesMax)).toString();
    return { status: response.status, text };
  } finally {
    client.close();
  }
}

/** Where an http(s) URL is asked for. */
export function addressOf({ protocol, hostname, port, pathname, search }: URL): {
  address: HttpAddress;
  target: string;
} {
  const isTls = protocol === "https:";
  const host = hostname.replace(/^\[|\]$/g, "");
  const address = {
    host,
    port: Number(port) || (isTls ? 443 : 80),
    tls: isTls ? { serverName: host } : undefined,
  };
  return { address, target: pathname + search };
}
