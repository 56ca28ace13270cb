import { fromJson, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Components } from "../../component/components.ts";
import { checkedKey, keyPrefixOf } from "../../component/state-key.ts";
import type { StateOperation } from "../../component/state-store.ts";
import type { Clock } from "../../edges/clock.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import { enginePubSub } from "../defaults/pubsub.ts";
import { engineState } from "../defaults/state.ts";
import { planOf } from "../jobs/check-job.ts";
import { jobsSpace } from "../jobs/jobs.ts";
import { begin } from "../jobs/plan.ts";
import { encodeRecord } from "../jobs/record.ts";
import type { PubSubEngine } from "../pubsub/engine.ts";
import type { Mutation } from "../store/store.ts";
import type { Effects, PublishEffect, ScheduleEffect, StateEffect } from "./effects.ts";
import { InvalidEffects } from "./json-fields.ts";
import { digest } from "./key.ts";
import { callMessage } from "./outbox-message.ts";

export interface EffectContext {
  principal: { namespace: string; appId: string };
  components: Components;
  pubsub: () => Pick<PubSubEngine, "prepare">;
  clock: Clock;
  /** Where calls wait to be made. */
  outboxTopic: string;
}

export interface EffectInput {
  /** Names the input: the ids of all effects derive from it, so a repetition is recognised. */
  name: string;
  atomicWith: string;
  trace: SpanContext | undefined;
}

const callKeptMs = 24 * 3_600_000;
const valueType = "type.googleapis.com/google.protobuf.Value";

/** What effects come to in one commit. Throws `InvalidEffects` and the Faults of the building blocks. */
export function effectMutations(effects: Effects, input: EffectInput, context: EffectContext): Mutation[] {
  const base = digest(input.name);
  const idOf = (kind: string, index: number): string => `${base}-${kind}${index}`;
  return [
    ...stateMutations(effects.state, input, context),
    ...effects.publish.map((effect, index) => publication(effect, idOf("p", index), input, context)),
    ...effects.schedule.map((effect, index) => job(effect, `schedule[${index}]`, context)),
    ...effects.call.map((effect, index): Mutation => {
      const message = callMessage(effect, idOf("c", index));
      message.expiresAtMs = context.clock.now() + callKeptMs;
      return { kind: "append", topic: context.outboxTopic, message };
    }),
  ];
}

function stateMutations(
  effects: readonly StateEffect[],
  input: EffectInput,
  context: EffectContext,
): Mutation[] {
  return effects.flatMap((effect, index) => {
    const name = effect.store ?? input.atomicWith;
    const loaded = context.components.find("state", name);
    const where = `state[${index}]`;
    if (loaded === undefined) throw new InvalidEffects(where, `state store ${name} is not found`);
    const store = engineState(loaded.instance);
    if (store === undefined) {
      const why = `state store ${name} is ${loaded.type}: effects can only change a store of type state.mecha, which commits with them`;
      throw new InvalidEffects(where, why);
    }
    if (loaded.properties.get("primaryencryptionkey"))
      throw new InvalidEffects(where, `state store ${name} is encrypted, which effects can not do`);
    const key = keyPrefixOf(context.principal, loaded) + checkedKey(name, effect.key);
    return store.mutationsOf([operation(effect, key)]);
  });
}

function operation({ op, value, etag, isFirstWrite, ttlSeconds }: StateEffect, key: string): StateOperation {
  if (op === "delete") return { kind: "delete", request: { key, etag, metadata: {} } };
  return {
    kind: "upsert",
    request: {
      key,
      value: Buffer.from(value),
      etag,
      concurrency: isFirstWrite ? "first-write" : undefined,
      ttlSeconds,
      contentType: "application/json",
      metadata: {},
    },
  };
}

function publication(
  { pubsub, topic, data, contentType, metadata }: PublishEffect,
  id: string,
  { trace }: EffectInput,
  context: EffectContext,
): Mutation {
  const request = { pubsubName: pubsub, topic, data, contentType, metadata, trace };
  const { component, message } = context.pubsub().prepare(request, id);
  const engine = enginePubSub(component.instance);
  if (engine !== undefined) return engine.mutationOf(message.topic, message);
  const why = `pubsub ${pubsub} is ${component.type}: effects can only publish to a component of type pubsub.mecha, which commits with them`;
  throw new InvalidEffects("publish", why);
}

/** The same timer as the jobs API would set. */
function job(effect: ScheduleEffect, where: string, { principal, clock }: EffectContext): Mutation {
  const { overwrite, data, ...fields } = effect;
  const plan = planOf(fields, clock.now());
  const progress = begin(plan);
  if (progress === undefined) throw new InvalidEffects(where, "the schedule never comes");
  const value = data === undefined ? undefined : { typeUrl: valueType, value: jobData(data) };
  return {
    kind: "timerSet",
    space: jobsSpace(principal.namespace, principal.appId),
    id: fields.name,
    dueAtMs: progress.dueAtMs,
    data: encodeRecord({ ...fields, plan, progress }, value),
    ifAbsent: !overwrite,
  };
}

/** JSON as jobs keep it. */
function jobData(text: string): Uint8Array {
  return toBinary(ValueSchema, fromJson(ValueSchema, JSON.parse(text)));
}
