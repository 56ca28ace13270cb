import type { Base, BaseOptions, ConnectionPool } from "@platformatic/kafka";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type KafkaAddress, type KafkaSettings, kafkaAddress } from "./kafka-address.ts";

export type KafkaModule = typeof import("@platformatic/kafka");

export interface KafkaSurroundings {
  edges: Edges;
  log: Log;
}

const firstPauseMs = 100;
const pauseMaxMs = 1_000;
const closeMs = 1_000;
/** A topic that a broker has just made is not known to it at once. */
export const topicRetries = 10;

/** What the producers and consumers of a component share: how brokers are connected with, and what their errors mean. */
export class KafkaLink {
  readonly module: KafkaModule;
  readonly settings: KafkaSettings;
  readonly surroundings: KafkaSurroundings;
  readonly #address: KafkaAddress;
  readonly #closed = new AbortController();

  private constructor(module: KafkaModule, settings: KafkaSettings, surroundings: KafkaSurroundings) {
    this.module = module;
    this.settings = settings;
    this.surroundings = surroundings;
    this.#address = kafkaAddress(settings, surroundings.edges.clock);
  }

  /** Asks a broker for its version, or rejects with the reason. */
  static async open(settings: KafkaSettings, surroundings: KafkaSurroundings): Promise<KafkaLink> {
    const link = new KafkaLink(await import("@platformatic/kafka"), settings, surroundings);
    const client = new link.module.Base({ ...link.options, retries: 0 });
    try {
      await link.inTime(client.metadata({ topics: [] }), settings.dialTimeout);
    } catch (error) {
      const text = `error connecting to kafka at ${link.where}: ${reasonOf(error)}`;
      throw new Error(text, { cause: error });
    } finally {
      await link.leave(client);
    }
    return link;
  }

  /** The brokers of the settings, for messages. */
  get where(): string {
    return this.settings.brokers.join(",");
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  get options(): BaseOptions {
    const { clientID, dialTimeout, readTimeout, clientConnectionTopicMetadataRefreshInterval } =
      this.settings;
    return {
      ...this.#address,
      clientId: clientID,
      connectTimeout: dialTimeout,
      requestTimeout: readTimeout,
      timeout: readTimeout,
      metadataMaxAge: clientConnectionTopicMetadataRefreshInterval,
      autocreateTopics: true,
      retryDelay: (_client, _operation, attempt) => this.pauseMs(attempt - 1),
    };
  }

  pauseMs(tries: number): number {
    const { random } = this.surroundings.edges;
    return pauseBefore(tries, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random });
  }

  /** Ends early when the signal says so. */
  pause(ms: number, signal = this.closed): Promise<void> {
    return pause(this.surroundings.edges.clock, ms, signal);
  }

  /** A broker that stands still keeps its connection: after the time `late` is called. */
  async inTime<T>(work: Promise<T>, ms = this.settings.readTimeout, late?: () => void): Promise<T> {
    const end = Promise.withResolvers<never>();
    const timer = this.surroundings.edges.clock.setTimer(ms, () => {
      end.reject(new NoAnswer(`no answer within ${ms} ms`));
      late?.();
    });
    try {
      return await Promise.race([work, end.promise]);
    } finally {
      timer.cancel();
      work.catch(() => undefined);
    }
  }

  /** As the protocol has it, or after a moment without. */
  async leave(client: Base): Promise<void> {
    client.on("error", () => undefined);
    const connections = [...client.connections].map(([, connection]) => connection);
    await this.inTime(client.close(), closeMs).catch(() => undefined);
    for (const { socket } of connections) socket?.destroy();
    destroy(client.connections);
  }

  /** What a failed request of a producer means. */
  failureOf(error: unknown, outcome: "undone" | "unknown"): Error {
    const said = this.#saidBy(error);
    if (said !== undefined && !said.canRetry) {
      return new Error(`kafka refused it: ${said.apiId}: ${said.message}`, { cause: error });
    }
    const isUndone = said !== undefined && !maybeDone.has(said.apiId);
    return this.unavailable(reasonOf(error), isUndone ? "undone" : outcome, error);
  }

  unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`kafka at ${this.where}: ${text}`, outcome, cause);
  }

  /** What the last try of a request ended with. */
  isAbout(error: unknown, apiId: string): boolean {
    return this.#saidBy(error)?.apiId === apiId;
  }

  close(): void {
    this.#closed.abort();
  }

  #saidBy(error: unknown): Said | undefined {
    if (!(error instanceof Error)) return undefined;
    const { errors, apiId } = error as { errors?: unknown[]; apiId?: unknown };
    if (typeof apiId === "string") return error as unknown as Said;
    return errors === undefined ? this.#saidBy(error.cause) : this.#saidBy(errors.at(-1));
  }
}

/** An error that a broker has answered with. */
interface Said {
  apiId: string;
  message: string;
  canRetry: boolean;
}

/** Answers after which a message may be there all the same. */
const maybeDone = new Set(["REQUEST_TIMED_OUT", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "NETWORK_EXCEPTION"]);

export function destroy(pool: ConnectionPool): void {
  for (const [, connection] of pool) connection.socket?.destroy();
  void pool.close().catch(() => undefined);
}

/** The innermost of what the library has gathered says most. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = (error as { errors?: unknown[] }).errors?.at(-1) ?? error.cause;
  const own = error.message;
  if (!(inner instanceof Error)) return own;
  const rest = reasonOf(inner);
  return error instanceof AggregateError ? rest : `${own} ${rest}`;
}
