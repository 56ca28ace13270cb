import { STATUS_CODES } from "node:http";
import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../errors.ts";
import { type GrpcContext, GrpcError, type Metadata } from "../net/grpc/types.ts";
import type { InvokeUnaryReply } from "./invoker.ts";
import type { MethodAnswer } from "./on-invoke.ts";

/** ErrorInfo metadata values are cut to this. */
const detailCharsMax = 63;

const codeByStatus: Record<number, number> = {
  400: Code.Internal,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  408: Code.Canceled,
  409: Code.AlreadyExists,
  429: Code.ResourceExhausted,
  500: Code.Unknown,
  501: Code.Unimplemented,
  503: Code.Unavailable,
  504: Code.DeadlineExceeded,
};

/** Reasons that daprd words differently from Node: callers may compare the message. */
const goReasons: Record<number, string> = {
  413: "Request Entity Too Large",
  414: "Request URI Too Long",
  416: "Requested Range Not Satisfiable",
  418: "I'm a teapot",
  509: "",
};

/**
 * An answer as InvokeService gives it. Throws a GrpcError for an HTTP error or a gRPC status other than OK; the header
 * metadata, which the caller gets all the same, is set on `context` then.
 */
export function unaryReply(
  answer: MethodAnswer,
  context: Pick<GrpcContext, "replyHeaders">,
): InvokeUnaryReply {
  const headers: Metadata = answer.headers.filter(([name]) => name !== "content-type");
  if (answer.isHttp) headers.push(["dapr-http-status", String(answer.code)]);
  const failure = answer.isHttp ? httpError(answer) : grpcError(answer);
  if (failure) {
    context.replyHeaders.push(...headers);
    throw failure;
  }
  const { data, contentType } = answer;
  return { data, contentType, headers, trailers: answer.isHttp ? [] : answer.trailers };
}

function grpcError({ code, message, details }: MethodAnswer): GrpcError | undefined {
  return code === Code.Ok ? undefined : new GrpcError(code, message, { details });
}

function httpError({ code: status, data }: MethodAnswer): GrpcError | undefined {
  if (status >= 200 && status < 300) return undefined;
  const reason = goReasons[status] ?? STATUS_CODES[status] ?? "";
  const body = Buffer.from(data.value).toString("utf8");
  const detail = errorInfo(reason, { "http.code": String(status), "http.error_message": cut(body) });
  return new GrpcError(codeByStatus[status] ?? Code.Unknown, reason, { details: [detail] });
}

function cut(text: string): string {
  return text.length < detailCharsMax ? text : text.slice(0, detailCharsMax).toWellFormed();
}

/** google.rpc.ErrorInfo{reason = 1, domain = 2, metadata = 3} inside an Any. */
function errorInfo(reason: string, metadata: Record<string, string>): Uint8Array {
  const fields = [field(1, Buffer.from(reason)), field(2, Buffer.from("dapr.io"))];
  for (const [name, value] of Object.entries(metadata)) {
    fields.push(field(3, Buffer.concat([field(1, Buffer.from(name)), field(2, Buffer.from(value))])));
  }
  const typeUrl = "type.googleapis.com/google.rpc.ErrorInfo";
  return toBinary(AnySchema, create(AnySchema, { typeUrl, value: Buffer.concat(fields) }));
}

function field(number: number, bytes: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = bytes.length;
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes]);
}
