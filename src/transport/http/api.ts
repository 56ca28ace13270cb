import type { AppScope } from "../../api/call.ts";
import type { HttpOperation, Operation, UnaryOperation } from "../../api/operation.ts";
import { textReply } from "../../api/reply.ts";
import { errors, Fault } from "../../errors.ts";
import { after } from "../../kit/after.ts";
import type { HttpHandler, HttpReply, HttpRequest } from "../../net/http1/types.ts";
import { isApiAllowed } from "../../policy/authorize.ts";
import { type Handler, type Subject, stack } from "../../policy/layer.ts";
import { layers } from "../../policy/layers.ts";
import { isTraced } from "../../policy/trace.ts";
import { createFaultNotes } from "../fault-notes.ts";
import { gateOf } from "../gate.ts";
import { describeHttpCall } from "../span-details.ts";
import { createCors } from "./cors.ts";
import { InvalidEscape, queryUnescape } from "./decode.ts";
import { faultReply } from "./fault-reply.ts";
import { type Routed, RoutedHttpCall } from "./http-call.ts";
import { type PathLabel, pathLabels } from "./path-label.ts";
import type { RequestGuard } from "./request-guard.ts";
import { cleanPath, parameterNames, Router } from "./router.ts";

export interface HttpApiOptions {
  app: AppScope;
  operations: readonly Operation[];
  /** Middleware before everything but CORS; absent: none. */
  pipeline?: {
    readonly isEmpty: boolean;
    run(request: HttpRequest, last: HttpHandler): ReturnType<HttpHandler>;
  };
  /** Keeps browsers away while no token is asked for; absent where they can not come, as on a Unix socket. */
  guard?: RequestGuard;
  /** The public port: health and metadata only, without token and without a fallback. */
  public?: boolean;
}

interface Route {
  run: Handler<RoutedHttpCall, HttpReply>;
  names: readonly string[];
  hasRest: boolean;
  labelOf: PathLabel;
}

/** Serves operations over HTTP. Compiled anew when the app's Configuration is replaced. */
export function createHttpApi(options: HttpApiOptions): HttpHandler {
  const { app } = options;
  const refusal = options.guard && guarded(app, options.guard, options.public ?? false);
  let compiledFor = app.configuration;
  let handle = compile(options);
  return (request) => {
    if (app.configuration !== compiledFor) {
      compiledFor = app.configuration;
      handle = compile(options);
    }
    return refusal?.(request) ?? handle(request);
  };
}

/** Answers what the guard refuses; who can show a token is no web page. */
function guarded(app: AppScope, guard: RequestGuard, isPublic: boolean) {
  const told = new Set<string>();
  return (request: HttpRequest): HttpReply | undefined => {
    if (!isPublic && app.settings.apiTokens.length > 0) return undefined;
    const why = guard(request);
    if (why === undefined) return undefined;
    const given = (request.header(why) ?? request.header("sec-fetch-site") ?? "").slice(0, 100);
    const fault = why === "host" ? errors.HOST_REFUSED(given) : errors.ORIGIN_REFUSED(given);
    // Whoever has put a name before the API has to find this; once, for anybody can cause it.
    if (!told.has(why)) app.telemetry.log.warn({ [why]: given }, `refused a request: ${fault.message}`);
    told.add(why);
    return faultReply(fault);
  };
}

function compile(options: HttpApiOptions): HttpHandler {
  const { app } = options;
  const { router, missing } = buildRouter(options);
  const cors = options.public ? undefined : createCors(app.settings.allowedOrigins);
  const noteFault = createFaultNotes(app);

  function failed(call: RoutedHttpCall, error: unknown): HttpReply {
    const fault = Fault.from(error);
    noteFault(fault, call.label);
    return call.complete(faultReply(fault));
  }

  function dispatch(request: HttpRequest): HttpReply | Promise<HttpReply> {
    const { path, query } = splitTarget(request.target);
    const clean = cleanPath(path);
    const found = router.find(request.method, clean) ?? { route: missing, values: [clean.slice(1)] };
    const routed = routedTo(found.route, found.values, clean, query);
    if (typeof routed === "string") return textReply(400, routed);
    const call = new RoutedHttpCall(app, request, routed);
    try {
      const reply = found.route.run(call);
      if (!(reply instanceof Promise)) return call.complete(reply);
      return reply.then(
        (value) => call.complete(value),
        (error) => failed(call, error),
      );
    } catch (error) {
      return failed(call, error);
    }
  }

  const { pipeline } = options;
  const handle: HttpHandler =
    pipeline === undefined || pipeline.isEmpty ? dispatch : (request) => pipeline.run(request, dispatch);
  if (cors === undefined) return handle;
  return (request) =>
    cors.preflight(request) ?? after(handle(request), (reply) => cors.allow(request, reply));
}

function buildRouter(options: HttpApiOptions): { router: Router<Route>; missing: Route } {
  const { app, operations } = options;
  const router = new Router<Route>();
  const labels = pathLabels(app.configuration.metrics.http);
  for (const endpoint of endpointsOf(operations, options.public ?? false)) {
    const { operation, verbs, path, group, handler } = endpoint;
    if (!isApiAllowed(app.configuration.api, { protocol: "http", group, path })) continue;
    const subject = subjectOf(options, operation.name, isProbe(operation));
    router.add(verbs, path, {
      run: stack(
        layers,
        isTraced(app.configuration.tracing) ? described(handler, group.name) : handler,
        subject,
      ),
      names: decodedNames(operation, path),
      hasRest: path.endsWith("...}"),
      labelOf: labels(path),
    });
  }
  // What Go's mux says of paths nobody serves: reached only when invocation is denied, or on the public port.
  const notFound: Handler<RoutedHttpCall, HttpReply> = () => textReply(404, "404 page not found");
  const missing: Route = {
    run: stack(layers, notFound, subjectOf(options, "NotFound", false)),
    names: [],
    hasRest: false,
    labelOf: labels("/{path...}"),
  };
  return { router, missing };
}

/** The handler that first tells the span of the call what it is about. */
function described(handler: Endpoint["handler"], group: string): Endpoint["handler"] {
  return (call) => {
    if (call.span.isRecorded) describeHttpCall(call.span, group, call);
    return handler(call);
  };
}

/** Operations with raw bodies take the rest of the path raw too: invocation forwards it as it came. */
function decodedNames(operation: Operation, path: string): string[] {
  const names = parameterNames(path);
  return operation.kind === "http" && path.endsWith("...}") ? names.slice(0, -1) : names;
}

interface Endpoint {
  operation: Operation;
  verbs: readonly string[] | "any";
  path: string;
  group: { name: string; version: string };
  handler: Handler<RoutedHttpCall, HttpReply>;
}

function endpointsOf(operations: readonly Operation[], isPublic: boolean): Endpoint[] {
  return operations.flatMap((operation): Endpoint[] => {
    if (isPublic && !isProbe(operation) && operation.name !== "GetMetadata") return [];
    if (operation.kind === "stream") return [];
    if (operation.kind === "http") return [httpEndpoint(operation)];
    return unaryEndpoints(operation);
  });
}

function httpEndpoint(operation: HttpOperation): Endpoint {
  const { verbs, path, group } = operation;
  return { operation, verbs, path, group, handler: (call) => operation.handle(call) };
}

function unaryEndpoints(operation: UnaryOperation): Endpoint[] {
  return operation.http.map((binding) => ({
    operation,
    verbs: binding.verbs,
    path: binding.path,
    group: binding.group ?? operation.group,
    handler: (call) =>
      after(binding.request(call), (request) =>
        after(operation.handle(request, call), (response) => binding.reply(response, call)),
      ),
  }));
}

function isProbe(operation: Operation): boolean {
  return operation.kind === "http" && operation.probe === true;
}

function subjectOf(options: HttpApiOptions, operation: string, isProbe: boolean): Subject<HttpReply> {
  const { app } = options;
  return {
    appId: app.principal.appId,
    namespace: app.principal.namespace,
    protocol: "http",
    operation,
    isProbe,
    configuration: app.configuration,
    telemetry: app.telemetry,
    apiTokens: () => (options.public ? [] : app.settings.apiTokens),
    gate: gateOf(app),
    refuse: () => textReply(401, "invalid api token"),
    outcomeOf: (reply) => outcome(reply.status, sizeOf(reply)),
    outcomeOfError: (error) => outcome(error instanceof Fault ? error.http : 500, 0),
  };
}

function outcome(code: number, bytes: number) {
  return { status: String(code), code, isFailure: code >= 400, bytes };
}

function sizeOf({ body }: HttpReply): number {
  return typeof body === "string" || body instanceof Uint8Array ? body.length : 0;
}

function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? "" : target.slice(mark + 1);
  if (path.startsWith("/")) return { path, query };
  // The absolute form that proxies are sent: what follows the authority is the path.
  const authority = path.indexOf("://");
  const slash = authority < 0 ? -1 : path.indexOf("/", authority + 3);
  return { path: slash < 0 ? "/" : path.slice(slash), query };
}

/** Decodes the parameters once; the text of the refusal when one is malformed. */
function routedTo(route: Route, raw: string[], path: string, query: string): Routed | string {
  const rawRest = route.hasRest ? (raw.at(-1) ?? "") : "";
  const values: string[] = [];
  for (let i = 0; i < route.names.length; i++) {
    try {
      values.push(queryUnescape(raw[i] ?? ""));
    } catch (error) {
      if (!(error instanceof InvalidEscape)) throw error;
      return `failed to unescape request parameter "${route.names[i]}". Error: ${error.message}`;
    }
  }
  const metricPath = route.labelOf(path, raw[0] ?? "");
  return { names: route.names, values, path, query, rawRest, metricPath };
}
