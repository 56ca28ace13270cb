import { ServerUnavailable } from "../../component/server-unavailable.ts";
import type { Clock } from "../../edges/clock.ts";
import { messageOf } from "../../kit/message-of.ts";
import { createHttpClient } from "../../net/http1/client.ts";
import { BodyTooLarge, ConnectError, InvalidMessage } from "../../net/http1/errors.ts";
import type { HttpAddress, HttpTls } from "../../net/http1/types.ts";

interface HttpServerOptions {
  /** For messages: what it is. */
  name: string;
  /** http:// or https://; paths go behind it. */
  url: string;
  tls?: HttpTls | undefined;
  /** For a whole exchange. */
  timeoutMs: number;
  clock: Clock;
}

export interface HttpQuestion {
  method: "GET" | "POST" | "PUT";
  /** Behind the url, with its query, already encoded; empty: the url as it is. */
  path: string;
  headers: Record<string, string>;
  body?: Uint8Array;
  /** Of the answer. */
  bytesMax: number;
  /** Nothing is changed by it: without an answer it is not done. */
  isRead: boolean;
  /** Ends it early. */
  signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  status: number;
  reason: string;
  bytes: Buffer;
  text: string;
}

/** A server that is asked over HTTP. No answer in time is a `ServerUnavailable`; any status is an answer. */
export class HttpServer {
  /** For messages. */
  readonly where: string;
  readonly #options: HttpServerOptions;
  readonly #address: HttpAddress;
  readonly #base: { path: string; search: string };
  readonly #client = createHttpClient();
  readonly #closed = new AbortController();

  constructor(options: HttpServerOptions) {
    const { protocol, hostname, port, pathname, search } = new URL(options.url);
    const host = hostname.replace(/^\[|\]$/g, "");
    const isTls = protocol === "https:";
    const isName = !/^[\d.]+$|:/.test(host);
    this.#options = options;
    this.#base = { path: pathname, search };
    this.#address = {
      host,
      port: Number(port) || (isTls ? 443 : 80),
      tls: isTls ? { ...(isName && { serverName: host }), ...options.tls } : undefined,
    };
    this.where = `${options.name} at ${host}:${this.#address.port}`;
  }

  async ask(question: HttpQuestion): Promise<HttpAnswer> {
    const { clock, timeoutMs } = this.#options;
    const { method, path, headers, body, bytesMax, signal: caller } = question;
    const late = new AbortController();
    const timer = clock.setTimer(timeoutMs, () => late.abort(new Error(`no answer within ${timeoutMs} ms`)));
    const signal = AbortSignal.any([late.signal, this.#closed.signal, ...(caller ? [caller] : [])]);
    try {
      const response = await this.#client.request(this.#address, {
        ...{ method, target: this.#targetOf(path), headers: Object.entries(headers).flat() },
        ...{ body, signal, isReplayable: question.isRead },
      });
      const bytes = Buffer.from(await response.body.bytes(bytesMax));
      const { status, reason } = response;
      return { status, reason, bytes, text: bytes.toString() };
    } catch (error) {
      throw this.#failure(signal.aborted ? signal.reason : error, question.isRead);
    } finally {
      timer.cancel();
    }
  }

  close(): void {
    this.#closed.abort(new Error("the component is closed"));
    this.#client.close();
  }

  #targetOf(path: string): string {
    const { path: base, search } = this.#base;
    return path === "" ? base + search : base.replace(/\/+$/, "") + path;
  }

  #failure(error: unknown, isRead: boolean): Error {
    if (error instanceof BodyTooLarge)
      return new Error(`${this.where}: the answer is larger than ${error.limit} bytes`, { cause: error });
    if (error instanceof InvalidMessage) return error;
    const outcome = isRead || error instanceof ConnectError ? "undone" : "unknown";
    return new ServerUnavailable(`${this.where}: ${messageOf(error)}`, outcome, error);
  }
}

/** Throws when it is not an address of HTTP. */
export function checkHttpUrl(field: string, url: string): void {
  if (!/^https?:\/\//i.test(url) || URL.parse(url) === null)
    throw new Error(`${field} ${JSON.stringify(url)} is no address: write http://… or https://…`);
}
