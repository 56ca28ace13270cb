import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../app/channel.ts";
import { Code } from "../errors.ts";
import { GrpcError, type Metadata } from "../net/grpc/types.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import {
  HTTPExtension_Verb,
  InvokeRequestSchema,
  InvokeResponseSchema,
} from "../wire/dapr/proto/common/v1/common_pb.js";

/** A call of a named method with a message: what OnInvoke and the legacy InvokeService carry. */
export interface MethodCall {
  method: string;
  data: { typeUrl: string; value: Uint8Array };
  contentType: string;
  /** GET, POST …; NONE as the caller's own word, empty when it sent no HTTP extension: HTTP apps refuse both. */
  verb: string;
  querystring: string;
  /** Lower-case names; the caller's headers or metadata after the rules of the hop. */
  metadata: Metadata;
  trace: SpanContext | undefined;
  signal: AbortSignal | undefined;
}

/** What came of it. `isHttp` says whose codes `code` is: HTTP statuses of an HTTP app or gRPC codes. */
export interface MethodAnswer {
  isHttp: boolean;
  code: number;
  message: string;
  /** Encoded google.protobuf.Any messages. */
  details: Uint8Array[];
  headers: Metadata;
  trailers: Metadata;
  data: { typeUrl: string; value: Uint8Array };
  contentType: string;
}

const onInvokePath = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

/** The content type of data that has a type URL. */
export const protobufType = "application/x-protobuf";

export const noData = { typeUrl: "", value: new Uint8Array(0) };

/** Calls a gRPC app's OnInvoke. An error status of the app is an answer; failing to reach it throws. */
export async function callOnInvoke(channel: AppChannel, call: MethodCall): Promise<MethodAnswer> {
  const { grpc } = channel;
  if (!grpc) throw new GrpcError(Code.Internal, "app channel is not gRPC");
  const request = toBinary(
    InvokeRequestSchema,
    create(InvokeRequestSchema, {
      method: call.method,
      data: call.data,
      contentType: call.contentType,
      ...httpExtensionOf(call),
    }),
  );
  let headers: Metadata = [];
  let trailers: Metadata = [];
  const options = {
    metadata: [...call.metadata, ...channel.grpcMetadata(call.trace)],
    ...(call.signal && { signal: call.signal }),
    onHeaders: (received: Metadata) => {
      headers = received;
    },
    onTrailers: (received: Metadata) => {
      trailers = received;
    },
  };
  try {
    const bytes = await channel.withSlot(() => grpc.unary(onInvokePath, request, options), call.signal);
    const { data, contentType } = fromBinary(InvokeResponseSchema, bytes);
    return { ...answerOf(Code.Ok, "", headers), data: data ?? noData, contentType, trailers };
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
    return {
      ...answerOf(error.code, error.message, headers),
      details: error.details,
      trailers: error.metadata,
    };
  }
}

function answerOf(code: number, message: string, headers: Metadata): MethodAnswer {
  return { isHttp: false, code, message, details: [], headers, trailers: [], data: noData, contentType: "" };
}

/** The field of an InvokeRequest; a call that came without one goes on without one. */
export function httpExtensionOf({ verb, querystring }: MethodCall): {
  httpExtension?: { verb: HTTPExtension_Verb; querystring: string };
} {
  return verb === "" ? {} : { httpExtension: { verb: verbNumber(verb), querystring } };
}

/** An unknown verb counts as POST, as in Dapr. */
function verbNumber(verb: string): HTTPExtension_Verb {
  const number = HTTPExtension_Verb[verb.toUpperCase() as keyof typeof HTTPExtension_Verb];
  return typeof number === "number" ? number : HTTPExtension_Verb.POST;
}
