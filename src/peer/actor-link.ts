import type { HttpClient, HttpReply, HttpRequest } from "../net/http1/types.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { appField, errorOfAnswer, peerFields, trustDomainLines } from "./peer-link.ts";
import { addressTo, type PeerCaller, type PeerPort, type PeerSecurity } from "./security.ts";

/** What one actor host says to another: a JSON text and the bytes of a body, which nobody parses. */
export interface ActorMessage {
  text: string;
  body: Uint8Array;
}

/** Takes calls for the actors of an app of this process. */
export interface ActorPeer {
  readonly hostId: string;
  call(
    message: ActorMessage,
    context: { caller: PeerCaller; trace: SpanContext | undefined; signal: AbortSignal },
  ): Promise<ActorMessage>;
}

export interface ActorHostAddress extends PeerPort {
  peerToken: string;
}

const lengthBytes = 4;
/** Room for the text beside the body. */
const textBytesMax = 1 << 20;

/** Calls the actor host of another process. Rejects with ConnectError when nothing was sent. */
export async function callActorPeer(
  client: HttpClient,
  callee: ActorHostAddress,
  message: ActorMessage,
  options: {
    caller: PeerCaller;
    trace: SpanContext | undefined;
    signal: AbortSignal;
    bodyBytesMax: number;
    security: PeerSecurity | undefined;
  },
): Promise<ActorMessage> {
  const { caller, trace, signal, bodyBytesMax, security } = options;
  const headers = [
    peerFields.token,
    callee.peerToken,
    peerFields.app,
    appField(callee),
    peerFields.call,
    "actor",
  ];
  headers.push("dapr-caller-app-id", caller.appId, "dapr-caller-namespace", caller.namespace);
  headers.push(...trustDomainLines(caller.trustDomain));
  if (trace) headers.push("traceparent", formatTraceparent(trace));
  const request = { method: "POST", target: "/actor", headers, body: encode(message), signal };
  const response = await client.request(addressTo(callee, security), request);
  const bytes = await response.body.bytes(bodyBytesMax + textBytesMax);
  const error = errorOfAnswer((name) => response.header(name));
  if (error) throw error;
  return decode(bytes);
}

/** The callee's side. */
export async function serveActorPeer(
  request: HttpRequest,
  peer: ActorPeer,
  options: { caller: PeerCaller; trace: SpanContext | undefined; bodyBytesMax: number },
): Promise<HttpReply> {
  const bytes = await request.body.bytes(options.bodyBytesMax + textBytesMax);
  const { caller, trace } = options;
  const answer = await peer.call(decode(bytes), { caller, trace, signal: request.signal });
  return { status: 200, headers: ["Content-Type", "application/octet-stream"], body: encode(answer) };
}

function encode({ text, body }: ActorMessage): Uint8Array {
  const head = Buffer.from(text);
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, body]);
}

function decode(bytes: Uint8Array): ActorMessage {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = lengthBytes + buffer.readUInt32BE(0);
  return { text: buffer.toString("utf8", lengthBytes, end), body: buffer.subarray(end) };
}
