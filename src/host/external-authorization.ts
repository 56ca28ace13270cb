import { Code } from "../errors.ts";
import type { HttpAddress, HttpClient, HttpReply, HttpResponse, RawHeaders } from "../net/http1/types.ts";
import type { BodyStart, InboundCall } from "../peer/local-targets.ts";
import { Refusal } from "../peer/refusal.ts";
import { oneOfGlobs } from "../policy/authorization/text-match.ts";
import type { ExternalProvider } from "../resource/authorization.ts";
import type { Log } from "../telemetry/telemetry.ts";

/** Of an answer that denies: it goes to the caller. */
const answerBytesMax = 64 << 10;

/** Lines for the app. */
export interface Permission {
  remove: ReadonlySet<string>;
  add: RawHeaders;
}

export interface ExternalAuthorization {
  /** Rejects with the Refusal when the server does not let the call in. */
  ask(call: InboundCall, said: { principal: string; callee: string }): Promise<Permission>;
  close(): void;
}

/**
 * Asks an authorization server over HTTP as Envoy does: with the request's own method and path, and its body where that
 * is wanted. 200 lets the call in, a failure of the server is an error, and everything else is the answer to the caller.
 */
export class HttpAuthorization implements ExternalAuthorization {
  readonly #provider: ExternalProvider;
  readonly #client: HttpClient;
  readonly #log: Log;
  readonly #address: HttpAddress;
  readonly #basePath: string;
  readonly #isSent: (name: string) => boolean;
  readonly #isPassedOn: (name: string) => boolean;
  readonly #isAnswered: (name: string) => boolean;

  constructor(provider: ExternalProvider, { httpClient, log }: { httpClient: HttpClient; log: Log }) {
    this.#provider = provider;
    this.#client = httpClient;
    this.#log = log;
    this.#address = addressOf(provider);
    this.#basePath = new URL(provider.uri).pathname.replace(/\/$/, "") + provider.pathPrefix;
    this.#isSent = oneOfGlobs(["authorization", ...provider.includeRequestHeadersInCheck]);
    this.#isPassedOn = oneOfGlobs(provider.headersToUpstreamOnAllow);
    const answered = provider.headersToDownstreamOnDeny;
    this.#isAnswered =
      answered.length === 0 ? () => true : oneOfGlobs(["www-authenticate", "location", ...answered]);
  }

  close(): void {
    // Its connections are those of all.
  }

  async ask(call: InboundCall): Promise<Permission> {
    const { timeoutMs, failOpen, name } = this.#provider;
    const start = await checkedBody(call, this.#provider);
    let response: HttpResponse;
    let body: Uint8Array;
    try {
      response = await this.#request(call, start, AbortSignal.timeout(timeoutMs));
      body = await response.body.bytes(answerBytesMax);
      if (response.status >= 500) throw new Error(`it answered ${response.status}`);
    } catch (error) {
      this.#log.warn({ error, provider: name }, "authorization: the external server could not be asked");
      if (failOpen) return { remove: new Set(), add: [] };
      throw refusal({ status: this.#provider.statusOnError, headers: [] });
    }
    if (response.status === 200) return this.#permission(call.lines(), response.rawHeaders);
    throw refusal({
      status: response.status,
      headers: chosen(response.rawHeaders, this.#isAnswered),
      body,
    });
  }

  #request(call: InboundCall, start: BodyStart | undefined, signal: AbortSignal): Promise<HttpResponse> {
    const { form, operation, query, verb } = call;
    const path = form === "http" ? operation : encodeURI(operation);
    return this.#client.request(this.#address, {
      method: form === "grpc" || verb === "" || verb === "NONE" ? "POST" : verb,
      target: this.#basePath + (query === "" ? path : `${path}?${query}`),
      headers: chosen(call.lines(), this.#isSent).concat(
        start === undefined ? [] : [partialHeader, String(!start.isWhole)],
      ),
      ...(start && start.bytes.byteLength > 0 && { body: start.bytes }),
      signal,
    });
  }

  /** What the server may write is the server's alone: a caller's lines of these names do not pass. */
  #permission(sent: RawHeaders, answered: RawHeaders): Permission {
    const spoofed = chosen(sent, this.#isPassedOn).filter((_, i) => i % 2 === 0);
    const remove = new Set(spoofed.map((name) => name.toLowerCase()));
    return { remove, add: chosen(answered, this.#isPassedOn) };
  }
}

export function addressOf({ uri }: ExternalProvider): HttpAddress {
  const { protocol, hostname, port } = new URL(uri);
  const host = hostname.replace(/^\[|\]$/g, "");
  const isTls = protocol === "https:";
  return {
    host,
    port: Number(port) || (isTls ? 443 : 80),
    tls: isTls ? { serverName: host } : undefined,
  };
}

/** What a server is to get of the body. Rejects when it can not have what it needs, whatever `failOpen` says. */
export async function checkedBody(
  call: InboundCall,
  { requestBody }: ExternalProvider,
): Promise<BodyStart | undefined> {
  if (requestBody === undefined) return undefined;
  const { bytesMax, allowsPartial } = requestBody;
  const start = await call.bodyStart(bytesMax, !allowsPartial);
  if (start.isWhole || allowsPartial) return start;
  if (start.isStream) throw bodyRefused(Code.FailedPrecondition, endless);
  throw bodyRefused(Code.ResourceExhausted, "the body is larger than may be checked");
}

const endless =
  "the body can not be checked: it is a stream of messages that goes on, and allowPartialMessage is not set";

function bodyRefused(code: Code, body: string): Refusal {
  return new Refusal(code, { status: 413, headers: ["Content-Type", "text/plain"], body }, body);
}

/** Envoy's own word for it. */
export const partialHeader = "x-envoy-auth-partial-body";

export function refusal(reply: HttpReply): Refusal {
  const code = reply.status === 401 ? Code.Unauthenticated : Code.PermissionDenied;
  return new Refusal(code, reply, "RBAC: access denied");
}

/** Of the hop, and what only mecha says. See `partialHeader`. */
const own =
  /^(host|connection|content-length|transfer-encoding|keep-alive|te|trailer|upgrade|expect|proxy-.*|date|x-envoy-auth-partial-body)$|^(dapr|mecha)-/;

export function chosen(lines: RawHeaders, isChosen: (lowerName: string) => boolean): RawHeaders {
  const kept: RawHeaders = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const name = (lines[i] as string).toLowerCase();
    if (!own.test(name) && isChosen(name)) kept.push(lines[i] as string, lines[i + 1] as string);
  }
  return kept;
}
