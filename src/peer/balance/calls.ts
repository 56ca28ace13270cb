import type { HttpReply, HttpRequest } from "../../net/http1/types.ts";
import type { Http2Stream } from "../../net/http2/http2-stream.ts";
import { headerOf } from "../metadata-header.ts";
import type { MethodAnswer, MethodCall } from "../on-invoke.ts";
import { answered, httpStatusOfGrpc } from "./outcome.ts";
import type { BalancedCall, Listener } from "./target-balancer.ts";

/** An HTTP call; a cookie that was made for it goes back with the answer. */
export function balancedHttp(
  request: HttpRequest,
  target: string,
  avoid: Set<string> | undefined,
): BalancedCall<HttpReply> {
  let cookie: string | undefined;
  const { remoteAddress } = request;
  const header = (lowerName: string): string | undefined => request.header(lowerName);
  const setCookie = (line: string): void => {
    cookie = line;
  };
  return {
    facts: { header, target, remoteAddress, avoid, setCookie },
    isHttp1: true,
    follow: (reply, listener) => {
      if (cookie !== undefined) reply.headers.push("Set-Cookie", cookie);
      end(listener, reply.status);
    },
  };
}

export function balancedMethod(call: MethodCall): BalancedCall<MethodAnswer> {
  const target = `/${call.method}${call.querystring === "" ? "" : `?${call.querystring}`}`;
  return {
    facts: { header: headerOf(call.metadata), target, remoteAddress: "" },
    isHttp1: true,
    follow: ({ isHttp, code }, listener) => end(listener, isHttp ? code : httpStatusOfGrpc(code)),
  };
}

function end(listener: Listener, status: number): void {
  listener.ended(answered(status));
  listener.released();
}

/** One proxied gRPC call, whose attempts are streams. Its last one ends with the call, the others have failed. */
export class BalancedStreams implements BalancedCall<Http2Stream> {
  readonly facts: BalancedCall<Http2Stream>["facts"];
  readonly isHttp1 = false;
  #current: Listener | undefined;

  constructor(path: string, header: (lowerName: string) => string | undefined) {
    this.facts = { header, target: path, remoteAddress: "", avoid: new Set() };
  }

  readonly follow = (stream: Http2Stream, listener: Listener): void => {
    this.#current?.ended(answered(unavailable));
    this.#current = listener;
    const before = stream.onRelease;
    stream.onRelease = () => {
      before?.();
      listener.released();
    };
    stream.onAnswer = () => listener.answered();
    if (stream.isClosed) listener.released();
  };

  done(code: number): void {
    this.#current?.ended(answered(httpStatusOfGrpc(code)));
  }
}

const unavailable = 503;
