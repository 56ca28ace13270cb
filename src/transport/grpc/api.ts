import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { AppScope } from "../../api/call.ts";
import type { Operation, StreamOperation, UnaryOperation } from "../../api/operation.ts";
import { Fault } from "../../errors.ts";
import { after } from "../../kit/after.ts";
import { grpcCode, grpcCodeGoName } from "../../net/grpc/status.ts";
import { GrpcError, type GrpcLookup, type GrpcMethod, type StreamHandler } from "../../net/grpc/types.ts";
import { isApiAllowed } from "../../policy/authorize.ts";
import { type Handler, type Subject, stack } from "../../policy/layer.ts";
import { layers } from "../../policy/layers.ts";
import { isTraced } from "../../policy/trace.ts";
import { createFaultNotes } from "../fault-notes.ts";
import { gateOf } from "../gate.ts";
import { describeGrpcCall } from "../span-details.ts";
import { grpcErrorOf } from "./error-details.ts";
import { RoutedGrpcCall } from "./grpc-call.ts";
import { createProxy } from "./proxy.ts";
import { createStandardServices, type StandardServices } from "./standard-services.ts";

export interface GrpcApiOptions {
  app: AppScope;
  operations: readonly Operation[];
}

/** Served by mecha itself, whichever of their methods exist: never proxied to an app. */
const ownServices = ["/dapr.proto.runtime.v1.Dapr/", "/TaskHubSidecarService/"];
const nothing = new Uint8Array(0);

/** Finds the gRPC method of a path among operations. Compiled anew when the app's Configuration is replaced. */
export function createGrpcApi(options: GrpcApiOptions): GrpcLookup {
  const { app } = options;
  const standard = createStandardServices(app);
  let compiledFor = app.configuration;
  let lookup = compile(options, standard);
  return (path, metadata) => {
    if (app.configuration !== compiledFor) {
      compiledFor = app.configuration;
      lookup = compile(options, standard);
    }
    return lookup(path, metadata);
  };
}

function compile(options: GrpcApiOptions, standard: StandardServices): GrpcLookup {
  const { app } = options;
  const methods = new Map<string, GrpcMethod>();
  const failed = failureMapper(app);
  for (const operation of options.operations) {
    if (operation.kind === "http") continue;
    for (const rpc of operation.rpcs) {
      const path = `/${rpc.parent.typeName}/${rpc.name}`;
      const group = { name: operation.group.name, version: versionOf(rpc) };
      const isAllowed = isApiAllowed(app.configuration.api, { protocol: "grpc", group });
      methods.set(path, isAllowed ? methodOf(options, operation, rpc, path, failed) : refused);
    }
  }
  const proxy = createProxy(app, (operation) => subjectOf(options, operation));
  return (path, metadata) => {
    const method = methods.get(path);
    if (method !== undefined) return method;
    if (ownServices.some((service) => path.startsWith(service))) return undefined;
    const isForOthers = metadata.some(([name]) => name === "dapr-app-id" || name === "dapr-callee-app-id");
    return (isForOthers ? undefined : standard(path)) ?? proxy;
  };
}

/** Denied by the API lists. A stream, because it answers before the request is complete. */
const refused: GrpcMethod = {
  kind: "stream",
  handle: () => Promise.reject(new GrpcError(grpcCode.UNIMPLEMENTED, "requested endpoint is not available")),
};

type Rpc = (UnaryOperation | StreamOperation)["rpcs"][number];
type Failed = (error: unknown, path: string) => GrpcError;

function methodOf(
  options: GrpcApiOptions,
  operation: UnaryOperation | StreamOperation,
  rpc: Rpc,
  path: string,
  failed: Failed,
): GrpcMethod {
  return operation.kind === "unary"
    ? unaryMethod(options, operation, rpc, path, failed)
    : streamMethod(options, operation, rpc, path, failed);
}

/** A unary call and its encoded request, which the handler at the core of the stack decodes. */
class UnaryGrpcCall extends RoutedGrpcCall {
  readonly message: Uint8Array;

  constructor(app: AppScope, context: RoutedGrpcCall["grpc"], message: Uint8Array) {
    super(app, context, message.length);
    this.message = message;
  }
}

function unaryMethod(
  options: GrpcApiOptions,
  operation: UnaryOperation,
  { input, output }: Rpc,
  path: string,
  failed: Failed,
): GrpcMethod {
  const { app } = options;
  const traced = isTraced(app.configuration.tracing);
  const core: Handler<UnaryGrpcCall, Uint8Array> = (call) => {
    const request = decode(input, call.message);
    if (traced && call.span.isRecorded) describeGrpcCall(call.span, path, operation.group.name, request);
    return after(operation.handle(request, call), (reply) => encode(output, reply));
  };
  const run = stack(layers, core, subjectOf<Uint8Array>(options, path));
  return {
    kind: "unary",
    handle(message, context) {
      try {
        const reply = run(new UnaryGrpcCall(app, context, message));
        if (!(reply instanceof Promise)) return reply;
        return reply.catch((error) => {
          throw failed(error, path);
        });
      } catch (error) {
        throw failed(error, path);
      }
    },
  };
}

function streamMethod(
  options: GrpcApiOptions,
  operation: StreamOperation,
  { input, output }: Rpc,
  path: string,
  failed: Failed,
): GrpcMethod {
  const { app } = options;
  const core: Handler<StreamGrpcCall, undefined> = async (call) => {
    const requests = decoded(input, call.requests);
    await operation.handle(requests, (reply) => call.send(encode(output, reply)), call);
    return undefined;
  };
  // A stream may stay open for days: it takes no place among the calls that are limited.
  const run = stack(layers, core, { ...subjectOf<undefined>(options, path), gate: undefined });
  const handle: StreamHandler = async (requests, send, context) => {
    try {
      await run(new StreamGrpcCall(app, context, requests, send));
    } catch (error) {
      throw failed(error, path);
    }
  };
  return { kind: "stream", handle };
}

/** A streaming call with its two directions. */
class StreamGrpcCall extends RoutedGrpcCall {
  readonly requests: AsyncIterable<Uint8Array>;
  readonly send: (message: Uint8Array) => Promise<void>;

  constructor(
    app: AppScope,
    context: RoutedGrpcCall["grpc"],
    requests: AsyncIterable<Uint8Array>,
    send: (message: Uint8Array) => Promise<void>,
  ) {
    super(app, context, 0);
    this.requests = requests;
    this.send = send;
  }
}

async function* decoded(input: DescMessage, requests: AsyncIterable<Uint8Array>): AsyncGenerator<Message> {
  for await (const bytes of requests) yield decode(input, bytes);
}

function decode(input: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(input, bytes);
  } catch (error) {
    throw new GrpcError(grpcCode.INTERNAL, `grpc: error unmarshalling request: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function encode(output: DescMessage, reply: MessageInitShape<DescMessage>): Uint8Array {
  if (output.fields.length === 0) return nothing;
  const message = create(output, reply);
  // Fields newer than the generated contract travel as unknown ones, which `create` does not copy.
  const { $unknown } = reply as Message;
  if ($unknown !== undefined) message.$unknown = $unknown;
  return toBinary(output, message);
}

/** `SaveState` → `v1.0`, `TryLockAlpha1` → `v1.0-alpha1`: Dapr names stable and alpha methods so. */
function versionOf({ name }: DescMethod): string {
  const stage = /(Alpha|Beta)(\d+)$/.exec(name);
  return stage === null ? "v1.0" : `v1.0-${stage[1]?.toLowerCase()}${stage[2]}`;
}

function failureMapper(app: AppScope): Failed {
  const noteFault = createFaultNotes(app);
  return (error, path) => {
    if (error instanceof GrpcError) return error;
    const fault = Fault.from(error);
    noteFault(fault, path);
    return grpcErrorOf(fault);
  };
}

function subjectOf<R>(options: GrpcApiOptions, path: string): Subject<R> {
  const { app } = options;
  return {
    appId: app.principal.appId,
    namespace: app.principal.namespace,
    protocol: "grpc",
    operation: path,
    isProbe: false,
    configuration: app.configuration,
    telemetry: app.telemetry,
    apiTokens: () => app.settings.apiTokens,
    gate: gateOf(app),
    refuse(why) {
      const missing = "missing api token in request metadata";
      const mismatch = "authentication error: api token mismatch";
      throw new GrpcError(grpcCode.UNAUTHENTICATED, why === "missing" ? missing : mismatch);
    },
    outcomeOf: (reply) => ({
      status: "OK",
      code: 0,
      isFailure: false,
      bytes: reply instanceof Uint8Array ? reply.length : 0,
    }),
    outcomeOfError(error) {
      const code = error instanceof GrpcError ? error.code : Fault.from(error).grpc;
      return { status: grpcCodeGoName(code), code, isFailure: true, bytes: 0 };
    },
  };
}
