import type { AppChannel } from "../app/channel.ts";
import type { ConfigurationItem } from "../component/configuration-store.ts";
import { callOnInvoke } from "../peer/on-invoke.ts";
import type { AppScope } from "./call.ts";

type Items = Record<string, ConfigurationItem>;
const timeoutMs = 60_000;

/**
 * Tells the app of changed items, a call per key: `POST /configuration/<store>/<key>`, for a gRPC app OnInvoke with that
 * method, as in daprd. Failures are only logged.
 */
export function pushToApp(app: AppScope, channel: AppChannel, store: string, id: string, items: Items): void {
  const log = app.telemetry.log.scope("dapr.runtime.configuration");
  for (const key of Object.keys(items)) {
    push(channel, store, key, JSON.stringify({ id, items })).catch((error: Error) =>
      log.error({ store, key, error }, "error sending configuration item to the app"),
    );
  }
}

async function push(channel: AppChannel, store: string, key: string, body: string): Promise<void> {
  if (channel.protocol === "grpc") return pushOverGrpc(channel, `/configuration/${store}/${key}`, body);
  const response = await channel.http({
    method: "POST",
    target: `/configuration/${encodeURIComponent(store)}/${encodeURIComponent(key)}`,
    headers: ["Content-Type", "application/json"],
    body,
    timeoutMs,
  });
  await response.body.bytes(1 << 20);
  if (response.status !== 200) {
    throw new Error(`error sending configuration item to application, status ${response.status}`);
  }
}

async function pushOverGrpc(channel: AppChannel, method: string, body: string): Promise<void> {
  const { code, message } = await callOnInvoke(channel, {
    method,
    data: { typeUrl: "", value: Buffer.from(body) },
    contentType: "application/json",
    verb: "POST",
    querystring: "",
    metadata: [],
    trace: undefined,
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (code !== 0) {
    throw new Error(`error sending configuration item to application, status ${code}: ${message}`);
  }
}
