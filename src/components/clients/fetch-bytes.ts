import { createHttpClient } from "../../net/http1/client.ts";
import { addressOf } from "./fetch-json.ts";

const bytesMax = 64 << 20;

/** What stands at an address. Rejects with the address and the reason when it can not be had within the time. */
export async function fetchBytes(url: string, timeoutMs: number): Promise<Uint8Array> {
  const client = createHttpClient();
  try {
    const { address, target } = addressOf(new URL(url));
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await client.request(address, { method: "GET", target, headers: [], signal });
    if (response.status !== 200) throw new Error(`it answered ${response.status}`);
    return await response.body.bytes(bytesMax);
  } catch (error) {
    throw new Error(`${url} could not be fetched: ${(error as Error).message}`, { cause: error });
  } finally {
    client.close();
  }
}
