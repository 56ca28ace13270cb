import type { StateOperation } from "../component/state-store.ts";
import type { ActorRef, Fence } from "../engine/actors/engine.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import { JsonCursor } from "../kit/json-cursor.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { FenceRow, NotOwner, takeValues, transactOwned } from "./actor-fence.ts";
import { actorStore, requireRoom, requireTransactions } from "./actor-store.ts";
import { actorOf, actorPath, actorsGroup as group } from "./actors.ts";
import type { AppScope, Call } from "./call.ts";
import { anyJson, failures, text, textMap } from "./docs.ts";
import { operation } from "./operation.ts";
import { jsonTextReply, noContent, pushMetadata } from "./reply.ts";
import { ttlSecondsOf } from "./state-item.ts";
import { members, metadataOf, parseBody, rawMember, textOf } from "./state-json.ts";
import type { StateTarget } from "./state-target.ts";

const nothing = new Uint8Array(0);

export const getActorState = operation(Dapr.method.getActorState, {
  name: "GetActorState",
  group,
  http: {
    verbs: ["GET"],
    path: `${actorPath}/state/{key}`,
    request: (http) => ({
      actorType: http.param("actorType"),
      actorId: http.param("actorId"),
      key: http.param("key"),
    }),
    reply: ({ data = nothing, metadata = {} }) => {
      if (data.length === 0) return noContent;
      const reply = jsonTextReply(data);
      const headers = [...reply.headers];
      pushMetadata(headers, metadata);
      return { ...reply, headers };
    },
    docs: {
      summary: "Read one value of an actor that is active in this runtime",
      replies: {
        200: { description: "The value", contentType: "application/json", schema: anyJson },
        204: { description: "There is none" },
        ...failures({
          400: "ERR_ACTOR_INSTANCE_MISSING",
          500: "ERR_ACTOR_RUNTIME_NOT_FOUND, ERR_ACTOR_STATE_GET",
        }),
      },
    },
  },
  async handle({ actorType, actorId, key }, call) {
    const actor = actorOf({ actorType, actorId });
    const target = actorStore(call.app);
    const fence = call.app.actors.fence(actor);
    const prefix = prefixOf(call.app, actor);
    const request = { key: prefix + key, metadata: {} };
    try {
      if (hasRow(call.app, target)) await takeValues(fence, new FenceRow(target, call, { actor, prefix }));
      const entry = await target.run("get", () => target.store.get(request), call, { names: [request.key] });
      if (entry === undefined) return {};
      const data = target.cipher === undefined ? entry.value : target.cipher.decrypt(entry.value);
      const { expiresAtMs } = entry;
      if (expiresAtMs === undefined) return { data };
      return { data, metadata: { ttlExpireTime: new Date(expiresAtMs).toISOString() } };
    } catch (error) {
      throw errors.ACTOR_STATE_GET((error as Error).message, { cause: error });
    }
  },
});

export const executeActorStateTransaction = operation(Dapr.method.executeActorStateTransaction, {
  name: "ExecuteActorStateTransaction",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: `${actorPath}/state`,
    request: (http) =>
      after(http.jsonText(), (body) => ({
        actorType: http.param("actorType"),
        actorId: http.param("actorId"),
        operations: readOperations(body),
      })),
    reply: () => noContent,
    docs: {
      summary: "Change values of an actor that is active in this runtime, all or nothing",
      body: {
        "application/json": {
          type: "array",
          items: {
            type: "object",
            properties: {
              operation: { enum: ["upsert", "delete"] },
              request: { type: "object", properties: { key: text, value: anyJson, metadata: textMap } },
            },
          },
        },
      },
      replies: {
        204: { description: "Committed" },
        ...failures({
          400: "ERR_ACTOR_INSTANCE_MISSING, ERR_MALFORMED_REQUEST",
          500: "ERR_ACTOR_RUNTIME_NOT_FOUND, ERR_ACTOR_STATE_TRANSACTION_SAVE",
        }),
      },
    },
  },
  async handle({ actorType, actorId, operations }, call) {
    const { app } = call;
    const actor = actorOf({ actorType, actorId });
    const target = actorStore(app);
    const fence = app.actors.fence(actor);
    const prefix = prefixOf(app, actor);
    try {
      const list = operations.map((one) => storeOperation(app, target, prefix, one));
      await commit(target, call, { actor, list, prefix, fence });
      return {};
    } catch (error) {
      throw errors.ACTOR_STATE_SAVE((error as Error).message, { cause: error });
    }
  },
});

const separator = "||";

interface ActorOperation {
  operationType: string;
  key: string;
  value?: { value: Uint8Array } | undefined;
  metadata: Record<string, string>;
}

interface ActorCommit {
  actor: ActorRef;
  list: StateOperation[];
  /** What the keys of the actor begin with. */
  prefix: string;
  fence: Fence;
}

/** In the engine's own store the commit checks the ownership; in others a row of the actor does. */
async function commit(
  target: StateTarget,
  call: Call,
  { actor, list, prefix, fence }: ActorCommit,
): Promise<void> {
  const { store } = target;
  const names = list.map(({ request }) => request.key);
  if (store.transactFenced) {
    await target.run("transaction", () => store.transactFenced?.(list, fence) ?? Promise.resolve(), call, {
      names,
    });
    return;
  }
  if (hasRow(call.app, target))
    return transactOwned(fence, new FenceRow(target, call, { actor, prefix }), list);
  const transact = requireTransactions(target);
  requireRoom(target, list.length);
  if (!(await call.app.actors.isHeld(fence))) throw new NotOwner();
  const metadata = { partitionKey: prefix.slice(0, -separator.length) };
  await target.run("transaction", () => transact(list, metadata), call, { names });
}

/** Under `mecha daprd` nothing is beside the values that daprd would not write: the lease is looked at before. */
function hasRow({ settings }: AppScope, { store }: StateTarget): boolean {
  return store.transactFenced === undefined && !settings.isStrict;
}

function storeOperation(
  { settings, configuration }: AppScope,
  { cipher }: StateTarget,
  prefix: string,
  { operationType, key, value, metadata }: ActorOperation,
): StateOperation {
  if (key === "") throw new Error("an operation has no key");
  const full = prefix + key;
  if (operationType === "delete") return { kind: "delete", request: { key: full, metadata } };
  if (operationType !== "upsert") throw new Error(`operation type ${operationType} not supported`);
  const bytes = value?.value ?? nothing;
  const ttlSeconds = ttlSecondsOf(metadata.ttlInSeconds);
  if (ttlSeconds !== undefined && settings.isStrict && !configuration.features.ActorStateTTL) {
    throw new Error('ttlInSeconds is not supported without the "ActorStateTTL" feature enabled');
  }
  return {
    kind: "upsert",
    request: { key: full, value: cipher === undefined ? bytes : cipher.encrypt(bytes), ttlSeconds, metadata },
  };
}

function prefixOf({ principal }: AppScope, { type, id }: { type: string; id: string }): string {
  return [principal.appId, type, id, ""].join(separator);
}

function readOperations(body: string) {
  const list = parseBody(body);
  if (!Array.isArray(list)) throw errors.MALFORMED_REQUEST("the body has to be an array of operations");
  const raws: (string | undefined)[] = [];
  const cursor = new JsonCursor(body);
  cursor.array(() => {
    let raw: string | undefined;
    const visit = (name: string): void => {
      if (name.toLowerCase() === "request" && cursor.isObject) raw = rawMember(cursor, "value");
      else cursor.skip();
    };
    if (cursor.isObject) cursor.object(visit);
    else cursor.skip();
    raws.push(raw);
  });
  return list.map((entry, index) => {
    const { operation: verb, request } = members(entry, "an operation");
    const { key, metadata } = members(request, "request");
    return {
      operationType: textOf(verb ?? "", "operation"),
      key: textOf(key ?? "", "key"),
      value: { typeUrl: "", value: Buffer.from(raws[index] ?? "null") },
      metadata: metadataOf(metadata),
    };
  });
}
