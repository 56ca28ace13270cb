import { IncomingBody, readyBytes } from "../net/http1/body.ts";
import { BodyAborted } from "../net/http1/errors.ts";
import type { Body, HttpReply, RawHeaders } from "../net/http1/types.ts";
import { answerRules, lengthKeepingRules } from "./header-rules.ts";

/** The parts of an upstream response that make a reply. */
export interface UpstreamAnswer {
  status: number;
  reason: string;
  rawHeaders: RawHeaders;
  header(lowerName: string): string | undefined;
  body: Body;
  takeOver?: HttpReply["takeOver"];
}

/** Up to this length an answer that is shorter than announced is passed on as it is. */
const forgivenBytesMax = 64 * 1024;

/** The reply that passes an answer on: the body in one piece when it is there already, else as it comes. */
export function passAnswer(answer: UpstreamAnswer, method: string): HttpReply {
  const { status, reason, rawHeaders, body } = answer;
  if (status === 101) return switchProtocols(answer);
  if (method === "HEAD" || status === 304) {
    return { status, reason, headers: lengthKeepingRules.copy(rawHeaders) };
  }
  const bytes = readyBytes(body);
  if (bytes) return { status, reason, headers: answerRules.copy(rawHeaders), body: bytes };
  if (body.size === undefined) return { status, reason, headers: answerRules.copy(rawHeaders), body };
  if (body.size <= forgivenBytesMax) {
    return { status, reason, headers: answerRules.copy(rawHeaders), body: forgivingBody(body) };
  }
  return { status, reason, headers: lengthKeepingRules.copy(rawHeaders), body };
}

function switchProtocols({ reason, rawHeaders, header, takeOver }: UpstreamAnswer): HttpReply {
  const headers = answerRules.copy(rawHeaders);
  headers.push("Connection", "Upgrade", "Upgrade", header("upgrade") ?? "");
  return { status: 101, reason, headers, takeOver };
}

/**
 * Apps with a stale Content-Length exist, and daprd passes on what they did send. So does this for short answers,
 * framed anew; a long one that breaks off breaks off for the caller too.
 */
function forgivingBody(body: Body): Body {
  if (!(body instanceof IncomingBody)) return body;
  const forgiving = new IncomingBody(undefined, {
    wanted: () => {},
    readMore: () => body.resume(),
    dropped: () => body.discard(),
  });
  body.pipeTo({
    write: (chunk) => forgiving.push(chunk),
    end: () => forgiving.finish(),
    fail: (error) => (error instanceof BodyAborted ? forgiving.finish() : forgiving.fail(error)),
  });
  return forgiving;
}
