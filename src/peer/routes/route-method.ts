import { Code, errors, httpStatusOf } from "../../errors.ts";
import { TryOwner } from "../../kit/try-owner.ts";
import type { Metadata } from "../../net/grpc/types.ts";
import { headerOf } from "../metadata-header.ts";
import { methodTarget } from "../method-path.ts";
import type { MethodAnswer, MethodCall } from "../on-invoke.ts";
import type { Aim } from "../subset.ts";
import { type AttemptShape, claimTries, runAttempts } from "./attempts.ts";
import type { Backend } from "./backend.ts";
import { asRouteFailure, checkBackend, chooseBackend, noRule } from "./choice.ts";
import { changeMetadata } from "./header-change.ts";
import type { HttpTable } from "./http-table.ts";
import { drawn, mirrorBodyBytesMax } from "./mirrors.ts";
import { changePath } from "./path-change.ts";
import type { HttpRouting } from "./route-http.ts";
import { placeOf, type RoutePlace } from "./route-policy.ts";
import type { CompiledRule } from "./rule.ts";

export type SignalledCall = MethodCall & {
  signal: AbortSignal;
  /** Which of the policies on its way tries it again. */
  tries?: TryOwner | undefined;
};

export interface MethodRouting extends Omit<HttpRouting, "send"> {
  send(backend: Backend, call: SignalledCall, aim: Aim | undefined): Promise<MethodAnswer>;
}

/** The rule of a call of InvokeService, which is judged as the HTTP request that it stands for. */
export async function routeMethod(
  { table, call, id }: { table: HttpTable; call: SignalledCall; id: string },
  routing: MethodRouting,
): Promise<MethodAnswer> {
  const path = methodTarget(call.method, "");
  const found = table.find({
    path,
    query: call.querystring,
    method: call.verb === "" ? "POST" : call.verb.toUpperCase(),
    hostname: "",
    header: headerOf(call.metadata),
  });
  if (found === undefined) throw noRule(id);
  const { rule, prefix } = found;
  if (rule.redirect !== undefined) {
    throw errors.ROUTE(`the route ${rule.label} redirects, which this call can not follow`, {
      http: 500,
      grpc: Code.FailedPrecondition,
    });
  }
  const { random, clock, mirrors } = routing;
  const chosen = chooseBackend(rule, () => random.next());
  const tries = call.tries ?? new TryOwner();
  claimTries(tries, rule);
  const sent = { ...call, tries, method: methodAfter(call.method, path, rule, prefix) };
  const metadata = changeMetadata(call.metadata, rule.requestHeaders);
  if (call.data.value.length <= mirrorBodyBytesMax) {
    for (const backend of drawn(rule.mirrors, () => random.next())) {
      mirrors.send((signal) => mirror(backend, { ...sent, metadata, signal }, rule, routing));
    }
  }
  const { backend } = chosen;
  const aimed = { ...sent, metadata: changeMetadata(metadata, chosen.requestHeaders) };
  const send = (signal: AbortSignal = call.signal): Promise<MethodAnswer> =>
    routing.send(backend, { ...aimed, signal }, aimOf(backend)).catch((error) => {
      throw asRouteFailure(error, backend.id);
    });
  const attempt = (signal: AbortSignal = call.signal): Promise<MethodAnswer> =>
    governed(placeOf(backend, routing.namespace), { ...aimed, signal }, routing, send);
  const whole = (signal: AbortSignal = call.signal): Promise<MethodAnswer> =>
    runAttempts(rule, attempt, shapeOf(signal), clock);
  const answer = await governed(rule.place, { ...sent, signal: call.signal }, routing, whole);
  return { ...answer, headers: answerHeaders(answer.headers, [chosen, rule]) };
}

/** Inside the policies of a place, if there are any. */
function governed(
  place: RoutePlace | undefined,
  { verb, method, metadata, signal, tries }: SignalledCall & { tries: TryOwner },
  { policies }: MethodRouting,
  work: (signal: AbortSignal | undefined) => Promise<MethodAnswer>,
): Promise<MethodAnswer> {
  const policy = place && policies?.method(place);
  if (policy === undefined) return work(signal);
  const path = methodTarget(method, "");
  const header = headerOf(metadata);
  return policy.run({ verb: verb === "" ? "POST" : verb, path, header, signal, tries }, work);
}

function shapeOf(signal: AbortSignal): AttemptShape<MethodAnswer> {
  return {
    signal,
    isRepeatable: true,
    statusOf: ({ isHttp, code }: MethodAnswer) =>
      isHttp ? code : code === Code.Ok ? 200 : httpStatusOf(code),
    dispose: () => {},
    whenEnded: (answer: MethodAnswer, end: () => void) => {
      end();
      return answer;
    },
  };
}

function methodAfter(method: string, path: string, { rewrite }: CompiledRule, prefix: string): string {
  if (rewrite?.path === undefined) return method;
  const changed = decodeURIComponent(changePath(path, rewrite.path, prefix));
  return method.startsWith("/") ? changed : changed.slice(1);
}

function answerHeaders(
  headers: Metadata,
  changes: readonly Pick<CompiledRule, "responseHeaders">[],
): Metadata {
  return changes.reduce((lines, { responseHeaders }) => changeMetadata(lines, responseHeaders), headers);
}

async function mirror(
  backend: Backend,
  call: SignalledCall,
  { label }: CompiledRule,
  routing: MethodRouting,
): Promise<void> {
  checkBackend(backend, label);
  await routing.send(backend, call, aimOf(backend));
}

function aimOf(backend: Backend): Aim | undefined {
  return backend.kind === "app" ? { subset: backend.subset } : undefined;
}
