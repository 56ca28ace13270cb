import type { AppChannel } from "../app/channel.ts";
import type { ConfigurationItem } from "../component/configuration-store.ts";
import type { AppScope } from "./call.ts";

type Items = Record<string, ConfigurationItem>;
const timeoutMs = 60_000;

/** Posts changed items to the app, a call per key: `POST /configuration/<store>/<key>`. Failures are only logged. */
export function pushToApp(app: AppScope, channel: AppChannel, store: string, id: string, items: Items): void {
  const log = app.telemetry.log.scope("dapr.runtime.configuration");
  for (const key of Object.keys(items)) {
    push(channel, store, key, JSON.stringify({ id, items })).catch((error: Error) =>
      log.error({ store, key, error }, "error sending configuration item to the app"),
    );
  }
}

async function push(channel: AppChannel, store: string, key: string, body: string): Promise<void> {
  if (channel.protocol !== "http") throw new Error("the app does not speak HTTP");
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
