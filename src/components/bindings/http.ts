import { readFileSync } from "node:fs";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, parseFlag, quantity, text } from "../../component/fields.ts";
import type { Clock } from "../../edges/clock.ts";

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
const json = "application/json; charset=utf-8";

class HttpBinding implements Binding {
  readonly operations = ["create", ...withoutBody, ...withBody];
  readonly #settings: Settings;
  readonly #closed = new AbortController();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply> {
    const { url, tls, errorIfNot2XX } = this.#settings;
    const verb = operation === "create" ? "post" : operation.toLowerCase();
    const isBody = withBody.includes(verb);
    if (!isBody && !withoutBody.includes(verb)) throw new Error(`invalid operation: ${operation}`);
    const { path = "" } = metadata;
    const target = path === "" ? url : `${url.replace(/\/+$/, "")}/${path.replace(/^\/+/, "")}`;
    const late = this.#deadline();
    try {
      const answer = await fetch(target, {
        method: verb.toUpperCase(),
        headers: this.#headers(metadata, isBody),
        signal: late.signal,
        tls,
        ...(isBody && { body: Buffer.from(data) }),
      });
      const body = await this.#bodyOf(answer);
      const isError = metadata.errorIfNot2XX ? parseFlag(metadata.errorIfNot2XX) : errorIfNot2XX;
      // The text is Dapr's.
      if (isError && !answer.ok) throw new Error(`received status code ${answer.status}`);
      const status = `${answer.status} ${answer.statusText}`;
      return { data: body, metadata: { ...headersOf(answer), statusCode: String(answer.status), status } };
    } finally {
      late.end();
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(new Error("the binding is closed"));
  }

  #deadline(): { signal: AbortSignal; end(): void } {
    const { clock, timeoutMs } = this.#settings;
    if (timeoutMs === undefined) return { signal: this.#closed.signal, end: () => undefined };
    const late = new AbortController();
    const timer = clock.setTimer(timeoutMs, () =>
      late.abort(new Error(`no answer within the responseTimeout of ${timeoutMs} ms`)),
    );
    return { signal: AbortSignal.any([late.signal, this.#closed.signal]), end: () => timer.cancel() };
  }

  /** Metadata whose names begin with a capital letter are headers. */
  #headers(metadata: Record<string, string>, isBody: boolean): Headers {
    const headers = new Headers({ Accept: json });
    if (isBody) headers.set("Content-Type", json);
    if (this.#settings.token !== undefined) headers.set(...this.#settings.token);
    for (const [name, value] of Object.entries(metadata)) if (/^[A-Z]/.test(name)) headers.set(name, value);
    for (const name of ["traceparent", "tracestate", "baggage"]) {
      const value = metadata[name];
      if (value) headers.set(name, value);
    }
    return headers;
  }

  async #bodyOf(answer: Response): Promise<Buffer> {
    const { bodyBytesMax } = this.#settings;
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body ?? []) {
      size += chunk.length;
      if (bodyBytesMax > 0 && size > bodyBytesMax)
        throw new Error(`the answer is larger than the maxResponseBodySize of ${bodyBytesMax} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
}

/** Names as Go writes them. */
function headersOf({ headers }: Response): Record<string, string> {
  const named = [...headers].map(([name, value]) => [
    name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()),
    value,
  ]);
  return Object.fromEntries(named);
}
