import type { AppChannel, InboundLayer } from "../app/channel.ts";
import { Code, errors, httpStatusOf } from "../errors.ts";
import { GrpcError, type Metadata, type WholeAnswer, type WholeCalls } from "../net/grpc/types.ts";
import { WholeBody } from "../net/http1/body.ts";
import type { HttpReply } from "../net/http1/types.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { bytesOf, headerOf } from "./once-method.ts";

/** How the answer to a proxied call looks to the layer: a line of JSON, and its messages as they came. */
const answerType = "application/x-mecha-grpc-answer";
const replayedHeader = "idempotent-replayed";
const newline = 10;
const emptyMessage = new Uint8Array(5);

export interface ProxiedCallParts {
  path: string;
  metadata: Metadata;
  signal: AbortSignal;
  trace: SpanContext | undefined;
  bytesMax: number;
}

/** A proxied call that carries a key, through the layer of its app. */
export function onceProxied(channel: AppChannel, inbound: InboundLayer, parts: ProxiedCallParts): WholeCalls {
  const { path, metadata, signal, trace, bytesMax } = parts;
  const call = { method: "POST", target: path, headers: metadata.flat(), bodyBytesMax: bytesMax, trace };
  return {
    bytesMax,
    async handle(request, send) {
      const body = new WholeBody(request);
      const reply = await inbound.handle({ ...call, body }, async (whole) => {
        const ended = whole?.signal ?? signal;
        const answer = await channel.withSlot(() => counted(channel, path, send(ended)), ended);
        return keptReply(path, answer);
      });
      return answerOf(reply, path);
    },
  };
}

async function counted(channel: AppChannel, path: string, sent: Promise<WholeAnswer>): Promise<WholeAnswer> {
  const startedMs = performance.now();
  const count = (code: number): void => channel.proxied?.(path, code, performance.now() - startedMs);
  try {
    const answer = await sent;
    count(answer.code);
    return answer;
  } catch (error) {
    count(error instanceof GrpcError ? error.code : Code.Unknown);
    throw error;
  }
}

function keptReply(path: string, { headers, body, trailers, code }: WholeAnswer): HttpReply {
  const head = Buffer.from(`${JSON.stringify({ path, headers, trailers, code })}\n`);
  const status = httpStatusOf(code);
  return { status, headers: ["Content-Type", answerType], body: Buffer.concat([head, body]) };
}

type KeptHead = Omit<WholeAnswer, "body"> & { path: string };

async function answerOf(reply: HttpReply, path: string): Promise<WholeAnswer> {
  const bytes = await bytesOf(reply, Number.POSITIVE_INFINITY);
  const replayed = headerOf(reply.headers, replayedHeader);
  if (headerOf(reply.headers, "content-type") !== answerType) return ownAnswer(reply, bytes);
  const end = bytes.indexOf(newline);
  const kept = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as KeptHead;
  // Without a fingerprint a key is found whatever it came with.
  if (kept.path !== path) throw asGrpcError(errors.IDEMPOTENCY_KEY_REUSED());
  const { headers, trailers, code } = kept;
  if (replayed !== undefined) (headers ?? trailers)[replayedHeader] = replayed;
  return { headers, trailers, code, body: bytes.subarray(end + 1) };
}

/** What the layer answers by itself, and what another protocol left under the key. */
function ownAnswer({ status, headers }: HttpReply, bytes: Uint8Array): WholeAnswer {
  if (status === 204 && headerOf(headers, replayedHeader) !== undefined) {
    const plain = { ":status": 200, "content-type": "application/grpc", [replayedHeader]: "true" };
    return { headers: plain, body: emptyMessage, trailers: { "grpc-status": "0" }, code: Code.Ok };
  }
  throw faultOf(bytes) ?? asGrpcError(errors.IDEMPOTENCY_KEY_REUSED());
}

function faultOf(bytes: Uint8Array): GrpcError | undefined {
  try {
    const { errorCode, message } = JSON.parse(Buffer.from(bytes).toString());
    const row = Object.values(errors).find(({ code }) => code === errorCode);
    return row && new GrpcError(row.grpc, String(message));
  } catch {
    return undefined;
  }
}

function asGrpcError({ grpc, message }: { grpc: number; message: string }): GrpcError {
  return new GrpcError(grpc, message);
}
