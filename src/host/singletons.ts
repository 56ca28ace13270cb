import type { Principal } from "../api/call.ts";
import { createElections, type Elections, groupOf } from "../engine/leases/elections.ts";
import { createSchedules, type Schedules } from "../engine/schedules/schedules.ts";
import { createSend, type SendOptions } from "../engine/schedules/send.ts";
import type { SingletonResource } from "../resource/resource.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeResources } from "./resources.ts";

export interface SingletonsRequest extends Pick<SendOptions, "invoker" | "pubsub"> {
  host: Host;
  principal: Principal;
  telemetry: Telemetry;
  resources: RuntimeResources;
  /** Who claims timers. */
  owner: string;
}

const callbackTimeoutMs = 10_000;

/** What there is one of among all runtimes that share the store: leaders of groups, and fires of schedules. */
export function openSingletons(request: SingletonsRequest): { elections: Elections; schedules: Schedules } {
  const { host, principal, telemetry, resources, owner, invoker, pubsub } = request;
  const { store, clock } = host;
  const send = createSend({ invoker, pubsub, tracer: telemetry.tracer });
  const elections = createElections({
    principal,
    store,
    clock,
    log: telemetry.log.scope("mecha.singleton"),
    singletons: () => resources.singletons,
    async tell({ name, spec }, event) {
      const destination = event.kind === "leading" ? spec.onAcquire : spec.onLose;
      if (destination === undefined) return;
      const message = {
        id: `${name}/${event.term}/${event.kind}`,
        source: `singleton/${name}`,
        type: `run.mecha.singleton.${event.kind}`,
        timeMs: clock.now(),
        contentType: "application/json",
        data: Buffer.from(JSON.stringify({ group: spec.group || name, ...event })),
      };
      const options = { timeoutMs: callbackTimeoutMs, signal: new AbortController().signal };
      const outcome = await send(destination, message, options);
      if (outcome.kind === "failed") throw new Error(outcome.reason);
    },
  });
  const schedules = createSchedules({
    principal,
    store,
    clock,
    log: telemetry.log.scope("mecha.schedule"),
    owner,
    declared: () => resources.schedules,
    leaseTimes: (group) => findGroup(resources.singletons, group)?.spec,
    send,
  });
  return { elections, schedules };
}

function findGroup(
  singletons: readonly SingletonResource[],
  group: string | true,
): SingletonResource | undefined {
  return singletons.find((singleton) => groupOf(singleton) === group);
}
