import { readFileSync } from "node:fs";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, parseFlag, quantity, text } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Clock } from "../../edges/clock.ts";
import { messageOf } from "../../kit/message-of.ts";
import { createHttpClient } from "../../net/http1/client.ts";
import { BodyAborted, BodyTooLarge, ConnectError, ConnectionLost } from "../../net/http1/errors.ts";
import type { HttpAddress, HttpResponse } from "../../net/http1/types.ts";

export default component({
  type: "bindings.http",
  version: "v1",
  status: "stable",
  summary: "Requests to an HTTP server",
  metadata: {
    url: text({ description: "address; the request's `path` goes behind it", required: true }),
    responseTimeout: duration({ description: "longest wait for the whole answer; by default none", min: 1 }),
    maxResponseBodySize: quantity({
      description: "largest answer; 0 or less: any",
      default: 100 * 1024 * 1024,
    }),
    errorIfNot2XX: flag({ description: "an answer other than 2xx is an error", default: true }),
    securityToken: text({ description: "value of securityTokenHeader", sensitive: true }),
    securityTokenHeader: text({ description: "header that carries securityToken" }),
    MTLSRootCA: text({ description: "certificates that may sign the server's: PEM, or a file" }),
    MTLSClientCert: text({ description: "certificate of the client: PEM, or a file" }),
    MTLSClientKey: text({ description: "its key: PEM, or a file", sensitive: true }),
    MTLSRenegotiation: text({
      description: "renegotiation of TLS",
      missing: "TLS 1.3 knows none, and it is off in TLS 1.2",
    }),
  },
  async open(options, { edges }): Promise<Binding> {
    const { url, MTLSRootCA, MTLSClientCert, MTLSClientKey, securityToken, securityTokenHeader } = options;
    if (!/^https?:\/\//i.test(url) || URL.parse(url) === null)
      throw new Error(`url ${JSON.stringify(url)} is no address: write http://… or https://…`);
    if (!MTLSClientCert !== !MTLSClientKey)
      throw new Error("MTLSClientCert and MTLSClientKey need each other");
    const tls = {
      ...(MTLSRootCA && { ca: pem("MTLSRootCA", MTLSRootCA) }),
      ...(MTLSClientCert && { cert: pem("MTLSClientCert", MTLSClientCert) }),
      ...(MTLSClientKey && { key: pem("MTLSClientKey", MTLSClientKey) }),
    };
    return new HttpBinding({
      ...{ url, tls, clock: edges.clock, errorIfNot2XX: options.errorIfNot2XX },
      token: securityToken && securityTokenHeader ? [securityTokenHeader, securityToken] : undefined,
      timeoutMs: options.responseTimeout,
      bodyBytesMax: options.maxResponseBodySize,
    });
  },
});

const pingTimeoutMs = 10_000;

/** The text itself, or what the file of that name holds. */
function pem(field: string, value: string): string {
  if (value.includes("-----BEGIN")) return value;
  try {
    return readFileSync(value, "utf8");
  } catch (error) {
    // The text is Dapr's.
    const why = (error as Error).message;
    throw new Error(
      `provided "${field}" value is neither a valid file path or nor a valid pem encoded string: ${why}`,
    );
  }
}

/** Dot segments that the server may resolve although URL parsers do not. */
const disguisedDots = /(?:\/|%2f|%5c)(?:\.|%2e){1,2}(?=;|%3b|\/|%2f|%5c|$)/i;

interface Settings {
  url: string;
  tls: { ca?: string; cert?: string; key?: string };
  clock: Clock;
  errorIfNot2XX: boolean;
  token: [name: string, value: string] | undefined;
  timeoutMs: number | undefined;
  bodyBytesMax: number;
}

const withBody = ["post", "put", "patch"];
const withoutBody = ["get", "head", "delete", "options", "trace"];
const reading = ["get", "head", "options", "trace"];
const lost = [NoAnswer, ConnectError, ConnectionLost, BodyAborted];
const json = "application/json; charset=utf-8";

class HttpBinding implements Binding {
  readonly operations = ["create", ...withoutBody, ...withBody];
  readonly #settings: Settings;
  readonly #client = createHttpClient();
  readonly #closed = new AbortController();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply> {
    const { errorIfNot2XX } = this.#settings;
    const verb = operation === "create" ? "post" : operation.toLowerCase();
    const isBody = withBody.includes(verb);
    if (!isBody && !withoutBody.includes(verb)) throw new Error(`invalid operation: ${operation}`);
    const late = this.#deadline();
    try {
      const { address, target } = this.#addressOf(metadata.path);
      const answer = await this.#client.request(address, {
        method: verb.toUpperCase(),
        target,
        headers: this.#headers(metadata, isBody),
        signal: late.signal,
        body: isBody ? Buffer.from(data) : undefined,
      });
      const body = await this.#bodyOf(answer);
      const isError = metadata.errorIfNot2XX ? parseFlag(metadata.errorIfNot2XX) : errorIfNot2XX;
      // The text is Dapr's.
      if (isError && (answer.status < 200 || answer.status > 299))
        throw new Error(`received status code ${answer.status}`);
      const status = `${answer.status} ${answer.reason}`;
      return { data: body, metadata: { ...headersOf(answer), statusCode: String(answer.status), status } };
    } catch (error) {
      throw this.#failure(late.signal.aborted ? late.signal.reason : error, verb);
    } finally {
      late.end();
    }
  }

  /** HEAD changes nothing (RFC 9110 §9.2.1): any answer is one, but that who asks is not known. */
  async ping(): Promise<void> {
    const { clock, timeoutMs = pingTimeoutMs } = this.#settings;
    const question = { operation: "head", data: new Uint8Array(), metadata: { errorIfNot2XX: "false" } };
    const { metadata } = await withinTime(clock, timeoutMs, this.invoke(question));
    const { statusCode, status } = metadata ?? {};
    if (statusCode === "401" || statusCode === "407") throw new Error(`it answered ${status}`);
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error("the binding is closed"));
    this.#client.close();
  }

  /** A server that does not answer is told apart from one that does; the rest is as it was. */
  #failure(error: unknown, verb: string): unknown {
    const isNoAnswer = lost.some((kind) => error instanceof kind);
    if (!isNoAnswer || this.#closed.signal.aborted) return error;
    const isUndone = error instanceof ConnectError || reading.includes(verb);
    return new ServerUnavailable(messageOf(error), isUndone ? "undone" : "unknown", error);
  }

  #addressOf(path = ""): { address: HttpAddress; target: string } {
    const { url, tls } = this.#settings;
    const whole = path === "" ? url : `${url.replace(/\/+$/, "")}/${path.replace(/^\/+/, "")}`;
    const { protocol, hostname, port, pathname, search } = new URL(whole);
    const base = new URL(url).pathname.replace(/\/+$/, "");
    const isBelow = pathname === base || pathname.startsWith(`${base}/`);
    if (!isBelow || disguisedDots.test(pathname.slice(base.length)))
      throw new Error(`the path ${JSON.stringify(path)} leaves the url of the binding`);
    const host = hostname.replace(/^\[|\]$/g, "");
    const isTls = protocol === "https:";
    const isName = !/^[\d.]+$|:/.test(host);
    const address = {
      host,
      port: Number(port) || (isTls ? 443 : 80),
      tls: isTls ? { ...tls, ...(isName && { serverName: host }) } : undefined,
    };
    return { address, target: pathname + search };
  }

  #deadline(): { signal: AbortSignal; end(): void } {
    const { clock, timeoutMs } = this.#settings;
    if (timeoutMs === undefined) return { signal: this.#closed.signal, end: () => undefined };
    const late = new AbortController();
    const timer = clock.setTimer(timeoutMs, () =>
      late.abort(new NoAnswer(`no answer within the responseTimeout of ${timeoutMs} ms`)),
    );
    return { signal: AbortSignal.any([late.signal, this.#closed.signal]), end: () => timer.cancel() };
  }

  /** Metadata whose names begin with a capital letter are headers. */
  #headers(metadata: Record<string, string>, isBody: boolean): string[] {
    const headers = new Map<string, [name: string, value: string]>();
    const set = (name: string, value: string): void => void headers.set(name.toLowerCase(), [name, value]);
    set("Accept", json);
    if (isBody) set("Content-Type", json);
    if (this.#settings.token !== undefined) set(...this.#settings.token);
    for (const [name, value] of Object.entries(metadata)) if (/^[A-Z]/.test(name)) set(name, value);
    for (const name of ["traceparent", "tracestate", "baggage"])
      if (metadata[name]) set(name, metadata[name]);
    return [...headers.values()].flat();
  }

  async #bodyOf({ body }: HttpResponse): Promise<Uint8Array> {
    const { bodyBytesMax } = this.#settings;
    try {
      return await body.bytes(bodyBytesMax > 0 ? bodyBytesMax : Number.MAX_SAFE_INTEGER);
    } catch (error) {
      if (!(error instanceof BodyTooLarge)) throw error;
      const why = `the answer is larger than the maxResponseBodySize of ${bodyBytesMax} bytes`;
      throw new Error(why, { cause: error });
    }
  }
}

/** Lines of one name are joined, as in Dapr. */
function headersOf({ rawHeaders }: HttpResponse): Record<string, string> {
  const joined: Record<string, string> = {};
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string)
      .toLowerCase()
      .replace(/(^|-)[a-z]/g, (last) => last.toUpperCase());
    const value = rawHeaders[index + 1] as string;
    joined[name] = name in joined ? `${joined[name]}, ${value}` : value;
  }
  return joined;
}
