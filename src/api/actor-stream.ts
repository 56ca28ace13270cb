import type { DescMethodBiDiStreaming } from "@bufbuild/protobuf";
import { readActorConfig } from "../engine/actors/config.ts";
import { StreamActorApp } from "../engine/actors/stream-app.ts";
import { errors } from "../errors.ts";
import {
  type ActorEntityConfig,
  type SubscribeActorEventsRequestAlpha1,
  SubscribeActorEventsRequestAlpha1Schema,
  type SubscribeActorEventsRequestInitialAlpha1,
  SubscribeActorEventsResponseAlpha1Schema,
} from "../wire/actor_events_pb.js";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { actorsGroup } from "./actors.ts";
import { streaming } from "./operation.ts";

/** A method of 1.18 that the contract inside the SDK's package does not have yet. */
const subscribe: DescMethodBiDiStreaming<
  typeof SubscribeActorEventsRequestAlpha1Schema,
  typeof SubscribeActorEventsResponseAlpha1Schema
> = Object.create(Dapr.method.subscribeTopicEventsAlpha1, {
  name: { value: "SubscribeActorEventsAlpha1" },
  input: { value: SubscribeActorEventsRequestAlpha1Schema },
  output: { value: SubscribeActorEventsResponseAlpha1Schema },
});

/** Hosts the actors of an app on a stream that the app opened: it needs no port. The latest stream has the actors. */
export const subscribeActorEvents = streaming(subscribe, {
  name: "SubscribeActorEventsAlpha1",
  group: { ...actorsGroup, version: "v1.0-alpha1" },
  async handle(requests, send, { app, signal }) {
    if (app.channel?.protocol === "http") {
      throw errors.ACTOR_STREAM("actors of an HTTP app are called over HTTP, not over a stream");
    }
    const incoming = requests[Symbol.asyncIterator]();
    const types = readActorConfig(configOf(await initialOf(incoming)));
    let count = 0;
    const actors = new StreamActorApp(send, () => String(++count));
    // A stream that is cut off has to let go of turns that wait for it.
    signal.addEventListener("abort", () => actors.end(), { once: true });
    await send({ responseType: { case: "initialResponse", value: {} } });
    const detach = await app.actors.attach(types, actors);
    try {
      while (!signal.aborted) {
        const next = await Promise.race([incoming.next(), actors.ended]);
        if (next === undefined || next.done) return;
        const { requestType } = next.value;
        if (requestType.case === "initialRequest")
          throw errors.STREAM_REQUEST("duplicate initial request received");
        actors.arrived(requestType);
      }
    } finally {
      actors.end();
      await detach();
    }
  },
});

async function initialOf(
  incoming: AsyncIterator<SubscribeActorEventsRequestAlpha1>,
): Promise<SubscribeActorEventsRequestInitialAlpha1> {
  const first = await incoming.next();
  const type = first.done ? undefined : first.value.requestType;
  if (type?.case !== "initialRequest") throw errors.STREAM_REQUEST("initial request is required");
  if (type.value.entities.length === 0) throw errors.STREAM_REQUEST("entities are required");
  return type.value;
}

/** The settings as /dapr/config has them. */
function configOf(initial: SubscribeActorEventsRequestInitialAlpha1): object {
  return { ...settingsOf(initial), entitiesConfig: initial.entitiesConfig.map(settingsOf) };
}

function settingsOf(
  config: Pick<
    ActorEntityConfig,
    "entities" | "actorIdleTimeout" | "drainOngoingCallTimeout" | "drainRebalancedActors" | "reentrancy"
  >,
): object {
  const { entities, actorIdleTimeout, drainOngoingCallTimeout, drainRebalancedActors, reentrancy } = config;
  return {
    entities,
    actorIdleTimeout: textOf(actorIdleTimeout),
    drainOngoingCallTimeout: textOf(drainOngoingCallTimeout),
    drainRebalancedActors,
    reentrancy: reentrancy && { enabled: reentrancy.enabled, maxStackDepth: reentrancy.maxStackDepth },
  };
}

function textOf(duration: { seconds: bigint; nanos: number } | undefined): string | undefined {
  return duration && `${Number(duration.seconds) * 1000 + duration.nanos / 1e6}ms`;
}
