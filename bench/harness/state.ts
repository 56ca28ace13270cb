// What the state benches share: a value of 128 bytes under a key, and how it is written over HTTP.
import type { HttpLoad } from "./load.ts";

export const value = "x".repeat(128);
export const key = "bench-key";

/** A save of one item, as an SDK sends it. */
export function saveLoad(port: number): HttpLoad {
  return {
    port,
    path: "/v1.0/state/statestore",
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify([{ key, value }]),
  };
}

/** Stores the value that the get benches read. */
export async function saveOnce(port: number): Promise<void> {
  const { path, body = "" } = saveLoad(port);
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body });
  if (answer.status !== 204) throw new Error(`saving answered ${answer.status}: ${await answer.text()}`);
}
