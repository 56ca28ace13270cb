import type { Options } from "../../component/fields.ts";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { awsFields } from "./aws-fields.ts";

export type AwsSettings = Options<typeof awsFields>;

interface SendOptions {
  abortSignal: AbortSignal;
}

/** What this file needs of a client of the SDK. */
interface AwsClient {
  config: { requestHandler: unknown; region: string | (() => Promise<string>) };
  destroy(): void;
}

interface AskOptions {
  /** May be sent again when its answer was lost. */
  isRead?: boolean;
  /** When it is not the settings'; for requests that wait. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const connectionsMax = 64;
const waitingMax = 20_000;
const triesMax = 4;
const firstPauseMs = 50;
const pauseMaxMs = 1_000;

/** What a client of the SDK is made with. The SDK sends nothing twice by itself: this file decides. */
export function clientOptionsOf(settings: AwsSettings) {
  const { region, endpoint, accessKey, secretKey, sessionToken, timeout } = settings;
  if (!accessKey !== !secretKey) throw new Error("accessKey and secretKey need each other");
  if (sessionToken && !accessKey) throw new Error("sessionToken needs accessKey and secretKey");
  return {
    ...(region && { region }),
    ...(endpoint && { endpoint }),
    ...(accessKey &&
      secretKey && {
        credentials: {
          ...{ accessKeyId: accessKey, secretAccessKey: secretKey },
          ...(sessionToken && { sessionToken }),
        },
      }),
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: timeout,
      httpAgent: { keepAlive: true, maxSockets: connectionsMax },
      httpsAgent: { keepAlive: true, maxSockets: connectionsMax },
    },
  };
}

/** One client of the SDK. Each request has an end, and a write is sent once unless the server has refused it. */
export class AwsLink<C extends AwsClient> {
  readonly client: C;
  /** For messages. */
  readonly where: string;
  readonly #settings: AwsSettings;
  readonly #edges: Edges;
  readonly #closed = new AbortController();
  #waiting = 0;

  constructor(name: string, client: C, settings: AwsSettings, { edges }: { edges: Edges }) {
    this.client = client;
    this.where = settings.endpoint ? `${name} at ${settings.endpoint}` : name;
    this.#settings = settings;
    this.#edges = edges;
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** The settings', or what the SDK has found. */
  async region(): Promise<string> {
    const { region } = this.client.config;
    return typeof region === "string" ? region : region();
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /**
   * Rejects with the server's own error, or with `ServerUnavailable`: "unknown" when the answer to a write was lost.
   * One deadline is round all tries.
   */
  async ask<T>(send: (client: C, options: SendOptions) => Promise<T>, options: AskOptions = {}): Promise<T> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many requests wait already", "undone");
    this.#waiting++;
    try {
      return await this.#askAgain(send, options);
    } finally {
      this.#waiting--;
    }
  }

  pauseMs(tries: number): number {
    return pauseBefore(tries, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random: this.#edges.random });
  }

  /** Ends early when the link is closed. */
  pause(ms: number): Promise<void> {
    return pause(this.#edges.clock, ms, this.closed);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.client.destroy();
  }

  async #askAgain<T>(
    send: (client: C, options: SendOptions) => Promise<T>,
    { isRead = false, timeoutMs = this.#settings.timeout, signal }: AskOptions,
  ): Promise<T> {
    const { clock } = this.#edges;
    const endMs = clock.monotonicMs() + timeoutMs;
    for (let tries = 1; ; tries++) {
      if (this.isClosed) throw this.#unavailable("the component is closed", "undone");
      const leave = new AbortController();
      const signals = [leave.signal, this.closed, ...(signal ? [signal] : [])];
      try {
        const sent = send(this.client, { abortSignal: AbortSignal.any(signals) });
        return await withinTime(clock, Math.max(1, endMs - clock.monotonicMs()), sent, () => leave.abort());
      } catch (error) {
        const kind = kindOf(error);
        if (kind === "answer") throw error;
        if (kind === "late") await this.#leaveIdle();
        const pauseMs = this.pauseMs(tries - 1);
        const mayRetry = kind === "undone" || (kind === "lost" && isRead);
        const isOver = tries >= triesMax || clock.monotonicMs() + pauseMs >= endMs || signal?.aborted;
        if (!mayRetry || isOver || this.isClosed) {
          throw this.#unavailable(reasonOf(error), isRead || kind === "undone" ? "undone" : "unknown", error);
        }
        await this.pause(pauseMs);
      }
    }
  }

  /** A server that stands still, or a link that is half open: the other idle connections would be no better. */
  async #leaveIdle(): Promise<void> {
    const { configProvider } = this.client.config.requestHandler as { configProvider?: Promise<Agents> };
    const agents = await configProvider?.catch(() => undefined);
    for (const agent of [agents?.httpAgent, agents?.httpsAgent]) {
      for (const socket of Object.values(agent?.freeSockets ?? {}).flat()) socket?.destroy();
    }
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`${this.where}: ${text}`, outcome, cause);
  }
}

interface Agents {
  httpAgent?: Agent;
  httpsAgent?: Agent;
}

interface Agent {
  freeSockets?: Record<string, { destroy(): void }[] | undefined>;
}

/** An error that the service has answered with. */
interface Said {
  name: string;
  message: string;
  $fault?: "client" | "server";
  $metadata?: { httpStatusCode?: number };
  code?: string;
}

const refused = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
const lost = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "ETIMEDOUT", "ERR_STREAM_PREMATURE_CLOSE"]);
/** The service has done nothing, and says that it may be asked again. */
const busy =
  /^(Throttl|TooManyRequests|RequestThrottled|ProvisionedThroughputExceeded|RequestLimitExceeded|TransactionConflict|TransactionInProgress|SlowDown|ServiceUnavailable|KMSThrottling)/;

/** `answer`: the service's own error; `undone`: nothing was done; `lost`: it may have been done. */
function kindOf(error: unknown): "answer" | "undone" | "lost" | "late" {
  if (error instanceof NoAnswer) return "late";
  const { name, message, code = "", $fault, $metadata } = error as Said;
  if (refused.has(code) || message.includes("without establishing a connection")) return "undone";
  if (lost.has(code) || name === "AbortError") return "lost";
  if (busy.test(name)) return "undone";
  const status = $metadata?.httpStatusCode ?? 0;
  if ($fault !== undefined) return $fault === "server" && status >= 500 ? "lost" : "answer";
  // An answer that is not AWS's, or is none.
  return status > 0 || name === "TimeoutError" ? "lost" : "answer";
}

/** The first line: the SDK adds advice for its users. */
function reasonOf(error: unknown): string {
  return messageOf(error).split("\n")[0] ?? "";
}
