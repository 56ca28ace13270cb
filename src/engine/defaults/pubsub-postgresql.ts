import { component } from "../../component/component.ts";
import { duration, quantity, text } from "../../component/fields.ts";
import type {
  BulkPublishEntry,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { type Store, StoreUnavailable } from "../store/store.ts";
import { topicFields, topicsOn } from "./pubsub.ts";

const patienceMaxMs = 5_000;

/** The topics of mecha's own store, in any database: it need not be the one that the runtime keeps its own things in. */
export const pubsubOnPostgresql = component({
  type: "pubsub.postgresql",
  version: "v1",
  status: "beta",
  summary: "Durable topics with consumer groups in a PostgreSQL of yours: no broker to install",
  package: "postgres",
  metadata: {
    ...topicFields,
    connectionString: text({
      description: "postgresql://user:password@host:port/database",
      required: true,
      sensitive: true,
      aliases: ["url"],
    }),
    schema: text({
      description: "schema of the tables, which are made when they are missing; same schema, same topics",
      default: "mecha_pubsub",
    }),
    timeout: duration({
      description: "longest wait for an answer",
      default: 10_000,
      min: 100,
      max: 600_000,
      aliases: ["timeoutInSeconds"],
    }),
    retention: duration({
      description: "a message that a group has not handled is kept so long",
      default: 7 * 24 * 3_600_000,
      min: 60_000,
    }),
    retentionBytes: quantity({
      description: "and so many bytes of a topic",
      default: 1024 ** 3,
      min: 1024 ** 2,
    }),
  },
  async open(options, host): Promise<PubSub> {
    const { openPostgresqlStore } = await import("../store/postgresql.ts");
    const { schema, timeout, retention: ageMs, retentionBytes: bytes } = options;
    const { clock, random } = host.edges;
    const store = await answered(
      openPostgresqlStore({
        ...{ address: withSchema(options.connectionString, schema), clock, random },
        ...{ retention: { ageMs, bytes }, queryTimeoutMs: timeout },
        patienceMs: Math.min(timeout, patienceMaxMs),
      }),
    );
    return new PostgresqlPubSub(
      topicsOn(store, options, host, (topic) => topic),
      store,
    );
  },
});

function withSchema(connectionString: string, schema: string): string {
  const url = URL.parse(connectionString.trim());
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol))
    throw new Error("connectionString is no URL such as postgresql://user:password@host:port/database");
  url.searchParams.set("schema", schema);
  return url.href;
}

/** Tells of a server that is away as every component does. */
class PostgresqlPubSub implements PubSub {
  readonly features: PubSub["features"];
  readonly #topics: PubSub;
  readonly #store: Store;

  constructor(topics: PubSub, store: Store) {
    this.features = topics.features;
    this.#topics = topics;
    this.#store = store;
  }

  publish(message: OutgoingMessage): Promise<void> {
    return answered(this.#topics.publish(message));
  }

  /** One commit: all entries or none. */
  async bulkPublish(
    topic: string,
    entries: readonly BulkPublishEntry[],
  ): Promise<{ entryId: string; error: Error }[]> {
    const failed = (await this.#topics.bulkPublish?.(topic, entries)) ?? [];
    return failed.map(({ entryId, error }) => ({ entryId, error: toldAsOfServer(error) }));
  }

  subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    return answered(this.#topics.subscribe(request, handler));
  }

  async close(): Promise<void> {
    await this.#topics.close();
    await this.#store.close();
  }
}

function answered<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => Promise.reject(toldAsOfServer(error)));
}

function toldAsOfServer(error: unknown): Error {
  if (!(error instanceof StoreUnavailable)) return error instanceof Error ? error : new Error(String(error));
  return new ServerUnavailable(error.message, error.reason === "crashed" ? "unknown" : "undone", error);
}
