import type { ActorAnswer } from "../engine/actors/engine.ts";
import { isPassedOn } from "../engine/actors/http-app.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { Call, HttpCall } from "./call.ts";
import { anyJson, failures } from "./docs.ts";
import { httpOnly, operation } from "./operation.ts";

export const actorsGroup = { name: "actors", version: "v1.0" };
export const actorPath = "/v1.0/actors/{actorType}/{actorId}";

const reentrancyHeader = "dapr-reentrancy-id";
/** The runtime's own: never an actor's. */
const keptBack = new Set([
  "host",
  "expect",
  "dapr-api-token",
  "traceparent",
  "tracestate",
  "grpc-trace-bin",
  reentrancyHeader,
]);

export const invokeActorHttp = httpOnly({
  name: "InvokeActor",
  group: actorsGroup,
  verbs: ["GET", "POST", "PUT", "DELETE"],
  path: `${actorPath}/method/{method}`,
  handle: (http) => after(http.body(), (body) => invokeOverHttp(http, body)),
  docs: {
    summary: "Call a method of an actor, wherever it lives",
    body: { "application/json": anyJson },
    replies: {
      200: { description: "What the actor answered", contentType: "application/json", schema: anyJson },
      ...failures({
        400: "ERR_ACTOR_NO_PLACEMENT",
        404: "ERR_ACTOR_NO_ADDRESS",
        500: "ERR_ACTOR_INVOKE_METHOD, ERR_ACTOR_STACK_DEPTH",
        503: "ERR_ACTOR_RUNTIME_CLOSED",
      }),
    },
  },
});

export const invokeActor = operation(Dapr.method.invokeActor, {
  name: "InvokeActor",
  group: actorsGroup,
  async handle({ actorType, actorId, method, data, metadata }, call) {
    const actor = actorOf({ actorType, actorId });
    const answer = await invoke(
      call,
      { ...actor, method: checkedName(method) },
      Object.entries(metadata),
      data,
    );
    // Also what the actor says of an error of its own: as in Dapr, the reply does not tell the two apart.
    return { data: answer.body };
  },
});

async function invokeOverHttp(http: HttpCall, body: Uint8Array) {
  const actor = actorOf({ actorType: http.param("actorType"), actorId: http.param("actorId") });
  const method = checkedName(http.param("method"));
  const answer = await invoke(http, { ...actor, method }, http.headers(), body);
  const status = answer.isActorError ? answer.status : 200;
  return { status, headers: answer.headers, body: answer.body };
}

function invoke(
  call: Call,
  target: { type: string; id: string; method: string },
  headers: [string, string][],
  body: Uint8Array,
): Promise<ActorAnswer> {
  let reentrancyId: string | undefined;
  const kept = headers.filter(([name, value]) => {
    const lowerName = name.toLowerCase();
    if (lowerName === reentrancyHeader) reentrancyId ??= value;
    return isPassedOn(lowerName) && !keptBack.has(lowerName);
  });
  reentrancyId ??= call.header(reentrancyHeader);
  return call.app.actors.invoke({
    ...target,
    headers: kept,
    body,
    reentrancyId: reentrancyId || undefined,
    trace: call.span.context,
    signal: call.signal,
  });
}

/** An actor by the fields of a request; throws for names that could reach elsewhere or are the runtime's. */
export function actorOf({ actorType, actorId }: { actorType: string; actorId: string }) {
  if (actorType.startsWith("dapr.internal.")) throw errors.ACTOR_TYPE_RESERVED(actorType);
  return { type: checkedName(actorType), id: checkedName(actorId) };
}

export function checkedName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  const isBad = name === "" || name === "." || name === ".." || /[#?/\\\u0000-\u001f\u007f]/.test(name);
  if (isBad) throw errors.ACTOR_NAME(`${JSON.stringify(name)} can not be a name`);
  return name;
}
