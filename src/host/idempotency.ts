import type { AppScope } from "../api/call.ts";
import type { AppChannel } from "../app/channel.ts";
import { createIdempotency, type Idempotency } from "../engine/idempotency/idempotency.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";

export interface IdempotencyRequest {
  host: Host;
  options: RuntimeOptions;
  resources: RuntimeResources;
  channel: AppChannel | undefined;
  telemetry: Telemetry;
  /** Asked when something is to be done, after it was built. */
  scope: () => AppScope;
}

/** The keys and effects of one app; follows its Idempotency resources. */
export function openIdempotency(request: IdempotencyRequest): Idempotency {
  const { host, options, resources, channel, telemetry, scope } = request;
  const idempotency = createIdempotency({
    principal: principalOf(options),
    store: host.store,
    edges: host.edges,
    telemetry,
    components: resources.components,
    channel,
    pubsub: () => scope().pubsub,
    invoker: () => scope().invoker,
  });
  resources.onIdempotencies(() => {
    idempotency.apply(resources.idempotencies).catch((error: Error) => {
      telemetry.log.error(
        {},
        `the changed Idempotency resources can not be used, the old ones stay: ${error.message}`,
      );
    });
  });
  return idempotency;
}
