import type { ComponentHost } from "../../component/component.ts";
import { duration, flag, list, type Options, text } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { messageOf } from "../../kit/message-of.ts";
import { createHttpClient } from "../../net/http1/client.ts";
import { ConnectError } from "../../net/http1/errors.ts";
import type { HttpAddress, HttpClient, HttpResponse, HttpTls } from "../../net/http1/types.ts";

export const etcdFields = {
  endpoints: list({ description: "host:port of the members, separated by commas", required: true }),
  timeout: duration({ description: "longest wait for an answer", default: 5_000, min: 100, max: 600_000 }),
  tlsEnable: flag({ description: "connect with TLS", default: false }),
  ca: text({
    description: "certificates that may sign the server's, as PEM; by default those of the system",
  }),
  cert: text({ description: "certificate of the client, as PEM" }),
  key: text({ description: "its key, as PEM", sensitive: true }),
  username: text({ description: "who logs in, where the cluster asks for it" }),
  password: text({ description: "of the user", sensitive: true }),
};

/** What the gateway's JSON has of the answers that are used here. Numbers of 64 bits are texts, bytes base64. */
export interface EtcdAnswer {
  header?: { revision?: string };
  succeeded?: boolean;
  responses?: { response_range?: EtcdRange }[];
  ID?: string;
}

export interface EtcdRange {
  kvs?: EtcdEntry[];
  more?: boolean;
}

/** An empty value is left out. */
export interface EtcdEntry {
  key: string;
  value?: string;
  mod_revision?: string;
  lease?: string;
}

/** A piece of what a watch tells. */
export interface EtcdChanges {
  header?: { revision?: string };
  events?: { type?: "DELETE"; kv: EtcdEntry }[];
  canceled?: boolean;
}

interface Login {
  name: string;
  password: string;
}

interface Call {
  call: string;
  body: string;
  signal: AbortSignal;
}

const answerBytesMax = 16 << 20;
/** gRPC: CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, UNAVAILABLE: the cluster has no leader, or did not answer in time. */
const awayCodes = new Set([1, 2, 4, 14]);
const permissionDenied = 7;
const unauthenticated = 16;

/** Waits for an answer of the server, or rejects with the reason. */
export async function openEtcd(
  options: Options<typeof etcdFields>,
  { edges }: Pick<ComponentHost, "edges">,
): Promise<EtcdConnection> {
  const { timeout, username, password } = options;
  const tls = tlsOf(options);
  const addresses = options.endpoints.map((endpoint) => addressOf(endpoint, tls));
  if (!username !== !password) throw new Error("username and password need each other");
  const client = createHttpClient({ connectTimeoutMs: timeout, sockets: edges.sockets });
  const login = username && password ? { name: username, password } : undefined;
  const connection = new EtcdConnection(client, { addresses, timeoutMs: timeout, login });
  try {
    await connection.ping();
  } catch (error) {
    await connection.close();
    throw error;
  }
  return connection;
}

function tlsOf({ tlsEnable, ca, cert, key }: Options<typeof etcdFields>): HttpTls | undefined {
  if (!cert !== !key) throw new Error("cert and key need each other");
  if (!tlsEnable) {
    if (ca || cert) throw new Error("ca, cert and key are for tlsEnable: true");
    return undefined;
  }
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

function addressOf(endpoint: string, tls: HttpTls | undefined): HttpAddress {
  const [, scheme, host, port] =
    /^(?:(https?):\/\/)?(\[[0-9a-fA-F:]+\]|[^\s:/[\]]+)(?::(\d{1,5}))?$/.exec(endpoint) ?? [];
  if (host === undefined || Number(port ?? 1) > 65_535 || port === "0")
    throw new Error(`endpoints: expected host:port, got ${JSON.stringify(endpoint)}`);
  if (scheme !== undefined && (scheme === "https") !== (tls !== undefined))
    throw new Error(`endpoints: ${endpoint} and tlsEnable: ${tls !== undefined} do not go together`);
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port ?? 2379), tls };
}

/** The members of a cluster by their JSON gateway. Each call has an end, and writes are sent once. */
export class EtcdConnection {
  readonly #client: HttpClient;
  readonly #addresses: readonly HttpAddress[];
  readonly #timeoutMs: number;
  readonly #login: Login | undefined;
  /** Of the login; asked for when it is needed. */
  #token: Promise<string> | undefined;
  /** The member that answered last. */
  #at = 0;

  constructor(
    client: HttpClient,
    settings: { addresses: readonly HttpAddress[]; timeoutMs: number; login: Login | undefined },
  ) {
    this.#client = client;
    this.#addresses = settings.addresses;
    this.#timeoutMs = settings.timeoutMs;
    this.#login = settings.login;
  }

  /** Rejects when the cluster does not answer, or does not know us. */
  async ping(): Promise<void> {
    try {
      await this.read("kv/range", { key: base64("\0"), limit: "1" });
    } catch (error) {
      // Users need not be allowed to read that key.
      if (!(error instanceof EtcdError && error.code === permissionDenied)) throw error;
    }
  }

  read(call: string, request: object): Promise<EtcdAnswer & EtcdRange> {
    return this.#ask(call, request, "undone");
  }

  /** Rejects with `ServerUnavailable` "unknown" when it can not be known whether it was done. */
  write(call: string, request: object): Promise<EtcdAnswer> {
    return this.#ask(call, request, "unknown");
  }

  /** Tells of changes until the signal ends it. Rejects when the member is away, or says no. */
  async watch(request: object, signal: AbortSignal, told: (changes: EtcdChanges) => void): Promise<void> {
    const body = JSON.stringify({ create_request: request });
    const address = this.#address;
    try {
      const response = await this.#authorized(address, { call: "watch", body, signal });
      for await (const line of linesOf(response)) {
        const { result, error } = JSON.parse(line) as { result?: EtcdChanges; error?: { message?: string } };
        if (error !== undefined) throw new Error(error.message ?? line);
        if (result !== undefined) told(result);
      }
      throw new Error("the watch has ended");
    } catch (error) {
      if (signal.aborted) return;
      this.#at++;
      throw new ServerUnavailable(`${nameOf(address)}: ${messageOf(error)}`, "undone", error);
    }
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  get #address(): HttpAddress {
    return this.#addresses[this.#at % this.#addresses.length] as HttpAddress;
  }

  async #ask(call: string, request: object, lost: "undone" | "unknown"): Promise<EtcdAnswer & EtcdRange> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    for (let tries = 1; ; tries++) {
      const address = this.#address;
      try {
        return await this.#answer(address, { call, body: JSON.stringify(request), signal });
      } catch (error) {
        if (error instanceof EtcdError && !awayCodes.has(error.code)) throw error;
        this.#at++;
        const isUnsent = error instanceof ConnectError;
        const mayRetry = isUnsent || lost === "undone";
        if (mayRetry && tries < this.#addresses.length && !signal.aborted) continue;
        const why = signal.aborted ? `no answer within ${this.#timeoutMs} ms` : messageOf(error);
        throw new ServerUnavailable(`${nameOf(address)}: ${why}`, isUnsent ? "undone" : lost, error);
      }
    }
  }

  async #answer(address: HttpAddress, call: Call): Promise<EtcdAnswer> {
    const response = await this.#authorized(address, call);
    return JSON.parse(await textOf(response)) as EtcdAnswer;
  }

  /** A login that is over is made once more: what it was sent with was not done. */
  async #authorized(address: HttpAddress, call: Call): Promise<HttpResponse> {
    if (this.#login === undefined) return this.#post(address, call);
    const token = this.#token ?? this.#logIn(address, call.signal);
    try {
      return await this.#post(address, call, await token);
    } catch (error) {
      if (!(error instanceof EtcdError && error.isStaleLogin)) throw error;
      if (this.#token === token) this.#token = undefined;
      return await this.#post(address, call, await (this.#token ?? this.#logIn(address, call.signal)));
    }
  }

  #logIn(address: HttpAddress, signal: AbortSignal): Promise<string> {
    const call = { call: "auth/authenticate", body: JSON.stringify(this.#login), signal };
    const token = this.#post(address, call).then(async (response) =>
      String((JSON.parse(await textOf(response)) as { token?: string }).token),
    );
    this.#token = token;
    token.catch(() => {
      if (this.#token === token) this.#token = undefined;
    });
    return token;
  }

  async #post(address: HttpAddress, { call, body, signal }: Call, token?: string): Promise<HttpResponse> {
    const headers = ["Content-Type", "application/json", ...(token ? ["Authorization", token] : [])];
    const target = `/v3/${call}`;
    const request = { method: "POST", target, headers, body, signal, timeoutMs: this.#timeoutMs };
    const response = await this.#client.request(address, request);
    if (response.status === 200) return response;
    throw etcdError(response.status, await textOf(response));
  }
}

async function textOf(response: HttpResponse): Promise<string> {
  return Buffer.from(await response.body.bytes(answerBytesMax)).toString();
}

/** The stream of a watch has an object in each line. */
async function* linesOf({ body }: HttpResponse): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for await (const piece of body) {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.subarray(0, end).toString();
      rest = rest.subarray(end + 1);
    }
    if (rest.length > answerBytesMax) throw new Error(`a change of more than ${answerBytesMax} bytes`);
  }
}

function nameOf({ host, port }: HttpAddress): string {
  return `etcd at ${host}:${port}`;
}

class EtcdError extends Error {
  readonly code: number;
  constructor(message: string, code: number) {
    super(message);
    this.name = "EtcdError";
    this.code = code;
  }

  /** The token is not known any more, or is older than the last change of the users. */
  get isStaleLogin(): boolean {
    return this.code === unauthenticated || /auth(?: store|entication)? .*(?:old|invalid)/.test(this.message);
  }
}

function etcdError(status: number, text: string): EtcdError {
  try {
    const { code = 2, error = text, message = error } = JSON.parse(text);
    return new EtcdError(String(message), Number(code));
  } catch {
    return new EtcdError(`HTTP ${status}: ${text.slice(0, 200).trim()}`, status >= 500 ? 14 : 9);
  }
}

export function base64(text: string | Uint8Array): string {
  return Buffer.from(text as Uint8Array).toString("base64");
}

export function bytesOf(encoded: string | undefined): Buffer {
  return Buffer.from(encoded ?? "", "base64");
}

/** All keys that begin with the text, from `from` on: `key` and `range_end` of a range. */
export function keysFrom(prefix: string, from: Uint8Array = Buffer.from(prefix)) {
  const end = Buffer.from(prefix);
  // No byte of UTF-8 is 255.
  const last = end.length - 1;
  if (last >= 0) end[last] = (end[last] as number) + 1;
  return { key: base64(from.length > 0 ? from : "\0"), range_end: base64(last >= 0 ? end : "\0") };
}

export function wellFormed(what: string, text: string): string {
  if (!text.isWellFormed()) throw new Error(`${what} with half a surrogate pair can not be kept in etcd`);
  return text;
}
