import type { ComponentHost } from "../../component/component.ts";
import { duration, list, type Options } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { createHttpClient } from "../../net/http1/client.ts";
import { ConnectError } from "../../net/http1/errors.ts";
import type { HttpAddress, HttpClient } from "../../net/http1/types.ts";

export const etcdFields = {
  endpoints: list({ description: "host:port of the members, separated by commas", required: true }),
  timeout: duration({ description: "longest wait for an answer", default: 5_000, min: 100, max: 600_000 }),
};

/** What the gateway's JSON has of the answers that are used here. Numbers of 64 bits are texts, bytes base64. */
export interface EtcdAnswer {
  header?: { revision?: string };
  succeeded?: boolean;
  responses?: { response_range?: EtcdRange }[];
  ID?: string;
}

export interface EtcdRange {
  kvs?: { value?: string; lease?: string }[];
}

const answerBytesMax = 16 << 20;
/** gRPC: CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, UNAVAILABLE: the cluster has no leader, or did not answer in time. */
const awayCodes = new Set([1, 2, 4, 14]);

/** Waits for an answer of the server, or rejects with the reason. */
export async function openEtcd(
  { endpoints, timeout }: Options<typeof etcdFields>,
  { edges }: Pick<ComponentHost, "edges">,
): Promise<EtcdConnection> {
  const addresses = endpoints.map(addressOf);
  if (addresses.length === 0) throw new Error("endpoints names no server");
  const client = createHttpClient({ connectTimeoutMs: timeout, sockets: edges.sockets });
  const connection = new EtcdConnection(client, addresses, timeout);
  try {
    await connection.read("kv/range", { key: base64("\0"), limit: "1" });
  } catch (error) {
    await connection.close();
    throw error;
  }
  return connection;
}

function addressOf(endpoint: string): HttpAddress {
  const [, host, port] =
    /^(?:http:\/\/)?(\[[0-9a-fA-F:]+\]|[^\s:/[\]]+)(?::(\d{1,5}))?$/.exec(endpoint) ?? [];
  if (host === undefined || Number(port ?? 1) > 65_535 || port === "0")
    throw new Error(`endpoints: expected host:port without TLS, got ${JSON.stringify(endpoint)}`);
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port ?? 2379), tls: undefined };
}

/** The members of a cluster by their JSON gateway. Each call has an end, and writes are sent once. */
export class EtcdConnection {
  readonly #client: HttpClient;
  readonly #addresses: readonly HttpAddress[];
  readonly #timeoutMs: number;
  /** The member that answered last. */
  #at = 0;

  constructor(client: HttpClient, addresses: readonly HttpAddress[], timeoutMs: number) {
    this.#client = client;
    this.#addresses = addresses;
    this.#timeoutMs = timeoutMs;
  }

  read(call: string, request: object): Promise<EtcdAnswer & EtcdRange> {
    return this.#ask(call, request, "undone");
  }

  /** Rejects with `ServerUnavailable` "unknown" when it can not be known whether it was done. */
  write(call: string, request: object): Promise<EtcdAnswer> {
    return this.#ask(call, request, "unknown");
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #ask(call: string, request: object, lost: "undone" | "unknown"): Promise<EtcdAnswer & EtcdRange> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    for (let tries = 1; ; tries++) {
      const address = this.#addresses[this.#at % this.#addresses.length] as HttpAddress;
      try {
        return await this.#exchange(address, { call, body: JSON.stringify(request), signal });
      } catch (error) {
        if (error instanceof EtcdError && !awayCodes.has(error.code)) throw error;
        this.#at++;
        const isUnsent = error instanceof ConnectError;
        const mayRetry = isUnsent || lost === "undone";
        if (mayRetry && tries < this.#addresses.length && !signal.aborted) continue;
        const why = signal.aborted ? `no answer within ${this.#timeoutMs} ms` : (error as Error).message;
        const message = `etcd at ${address.host}:${address.port}: ${why}`;
        throw new ServerUnavailable(message, isUnsent ? "undone" : lost, error);
      }
    }
  }

  async #exchange(
    address: HttpAddress,
    { call, body, signal }: { call: string; body: string; signal: AbortSignal },
  ): Promise<EtcdAnswer> {
    const headers = ["Content-Type", "application/json"];
    const target = `/v3/${call}`;
    const response = await this.#client.request(address, { method: "POST", target, headers, body, signal });
    const text = Buffer.from(await response.body.bytes(answerBytesMax)).toString();
    if (response.status === 200) return JSON.parse(text) as EtcdAnswer;
    throw etcdError(response.status, text);
  }
}

class EtcdError extends Error {
  readonly code: number;
  constructor(message: string, code: number) {
    super(message);
    this.name = "EtcdError";
    this.code = code;
  }
}

function etcdError(status: number, text: string): EtcdError {
  try {
    const { code = 2, error = text, message = error } = JSON.parse(text);
    return new EtcdError(String(message), Number(code));
  } catch {
    return new EtcdError(`HTTP ${status}: ${text.slice(0, 200)}`, 14);
  }
}

export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
