import type { MessageToProduce, Producer } from "@platformatic/kafka";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { type KafkaLink, reasonOf, topicRetries } from "./kafka.ts";
import { partitionOfKey } from "./kafka-record.ts";

export interface KafkaMessage {
  topic: string;
  value: Uint8Array;
  headers: Map<Buffer, Buffer>;
  key: Buffer | undefined;
  /** Asked for by its number. */
  partition: number | undefined;
}

interface Waiting {
  message: MessageToProduce;
  bytes: number;
  done(): void;
  failed(error: Error): void;
}

const waitingMax = 20_000;
const batchMax = 2_000;
/** The brokers' default is a megabyte for a batch. */
const batchBytesMax = 900_000;
/** Round a message and its headers. */
const overheadBytes = 100;

/**
 * Publishes: the messages that wait for a partition while a batch is under way are the next batch, so their order is
 * kept and a batch is there or not. The producer is idempotent: what is sent again is not there twice.
 */
export class KafkaProducer {
  readonly #link: KafkaLink;
  readonly #lanes = new Map<string, Waiting[]>();
  readonly #sending = new Set<Promise<void>>();
  /** Of each topic: messages without a key take partitions in turns. */
  readonly #turns = new Map<string, number>();
  #client: Producer | undefined;
  #count = 0;

  constructor(link: KafkaLink) {
    this.#link = link;
  }

  /** Resolves when the brokers have it. */
  async publish(message: KafkaMessage): Promise<void> {
    if (this.#link.closed.aborted) throw this.#link.unavailable("the component is closed", "undone");
    if (this.#count >= waitingMax) throw this.#link.unavailable("too many messages wait already", "undone");
    const bytes = bytesOf(message);
    const { maxMessageBytes } = this.#link.settings;
    if (maxMessageBytes !== undefined && bytes > maxMessageBytes) {
      throw new Error(`the message has ${bytes} bytes, and maxMessageBytes is ${maxMessageBytes}`);
    }
    this.#count++;
    try {
      const partition = this.#partitionFor(message, await this.#partitionsOf(message.topic));
      await this.#enqueue({ ...message, partition }, bytes);
    } finally {
      this.#count--;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sending);
    if (this.#client !== undefined) await this.#link.leave(this.#client);
  }

  /** Makes the topic when the broker may. */
  async #partitionsOf(topic: string): Promise<number> {
    const client = this.#opened();
    const known = client.currentMetadata?.topics.get(topic);
    const { settings, surroundings } = this.#link;
    const ageMaxMs = settings.clientConnectionTopicMetadataRefreshInterval;
    if (known !== undefined && surroundings.edges.clock.now() - known.lastUpdate < ageMaxMs)
      return known.partitionsCount;
    try {
      const asking = client.metadata({ topics: [topic], autocreateTopics: true, retries: topicRetries });
      const metadata = await this.#link.inTime(asking, settings.readTimeout, () => void this.#leave(client));
      const count = metadata.topics.get(topic)?.partitionsCount;
      if (!count) throw new Error(`the topic ${topic} has no partitions`);
      return count;
    } catch (error) {
      throw this.#link.failureOf(error, "undone");
    }
  }

  #partitionFor({ topic, key, partition }: KafkaMessage, partitions: number): number {
    if (partition !== undefined) {
      if (partition < partitions) return partition;
      throw new Error(`partitionNumber is ${partition}, and the topic ${topic} has ${partitions} partitions`);
    }
    if (key !== undefined) return partitionOfKey(key, partitions);
    const turn =
      this.#turns.get(topic) ?? Math.floor(this.#link.surroundings.edges.random.next() * partitions);
    this.#turns.set(topic, (turn + 1) % partitions);
    return turn % partitions;
  }

  #enqueue(
    { topic, partition, key, value, headers }: KafkaMessage & { partition: number },
    bytes: number,
  ): Promise<void> {
    const { promise, resolve: done, reject: failed } = Promise.withResolvers<void>();
    const bare = {
      topic,
      partition,
      value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      headers,
    };
    const waiting = { message: key === undefined ? bare : { ...bare, key }, bytes, done, failed };
    const name = `${partition}/${topic}`;
    const lane = this.#lanes.get(name);
    if (lane !== undefined) {
      lane.push(waiting);
      return promise;
    }
    const fresh = [waiting];
    this.#lanes.set(name, fresh);
    const sending = this.#drain(name, fresh);
    this.#sending.add(sending);
    void sending.then(() => this.#sending.delete(sending));
    return promise;
  }

  /** Never rejects. */
  async #drain(name: string, lane: Waiting[]): Promise<void> {
    // Those of the same turn of the event loop go together.
    await Promise.resolve();
    while (lane.length > 0) {
      const batch = takeBatch(lane);
      const error = await this.#sendOrSplit(batch);
      for (const one of batch) {
        if (error === undefined) one.done();
        else one.failed(error);
      }
      if (!(error instanceof ServerUnavailable)) continue;
      // Those behind have waited as long already.
      const undone = this.#link.unavailable(reasonOf(error.cause ?? error), "undone", error);
      for (const one of lane.splice(0)) one.failed(undone);
    }
    this.#lanes.delete(name);
  }

  /** A topic may allow less than a batch has: nothing of a batch that was refused is there. */
  async #sendOrSplit(batch: Waiting[]): Promise<Error | undefined> {
    const error = await this.#send(batch);
    if (error === undefined || batch.length === 1 || !this.#isTooLarge(error)) return error;
    for (const one of batch) {
      const own = await this.#send([one]);
      // A promise is settled once: the caller's word for the whole batch comes later.
      if (own === undefined) one.done();
      else one.failed(own);
    }
    return error;
  }

  async #send(batch: Waiting[]): Promise<Error | undefined> {
    const client = this.#opened();
    try {
      const messages = batch.map(({ message }) => message);
      await this.#link.inTime(client.send({ messages }), undefined, () => void this.#leave(client));
      return undefined;
    } catch (error) {
      return this.#link.failureOf(error, "unknown");
    }
  }

  #isTooLarge(error: Error): boolean {
    return ["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"].some((id) => this.#link.isAbout(error, id));
  }

  #opened(): Producer {
    if (this.#client !== undefined) return this.#client;
    const { module, settings, options } = this.#link;
    const isIdempotent = settings.producerRequiredAcks === "all";
    const client = new module.Producer({
      ...options,
      // Without the numbers of an idempotent producer what is sent again could be there twice.
      retries: isIdempotent ? settings.producerRetryMax : 0,
      idempotent: isIdempotent,
      acks: isIdempotent ? -1 : 1,
      compression: settings.compression,
    });
    client.on("error", () => undefined);
    this.#client = client;
    return client;
  }

  /** Its requests fail at once, the next ones have new connections. */
  async #leave(client: Producer): Promise<void> {
    if (this.#client === client) this.#client = undefined;
    await this.#link.leave(client);
  }
}

function takeBatch(lane: Waiting[]): Waiting[] {
  let count = 0;
  let bytes = 0;
  while (count < lane.length && count < batchMax) {
    bytes += lane[count]?.bytes ?? 0;
    if (count > 0 && bytes > batchBytesMax) break;
    count++;
  }
  return lane.splice(0, count);
}

function bytesOf({ key, value, headers }: KafkaMessage): number {
  let bytes = overheadBytes + value.length + (key?.length ?? 0);
  for (const [name, text] of headers) bytes += name.length + text.length;
  return bytes;
}
