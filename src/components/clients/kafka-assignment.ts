import type { ConnectionPool, Consumer } from "@platformatic/kafka";
import { destroy, type KafkaLink, reasonOf } from "./kafka.ts";
import { KafkaPartition } from "./kafka-partition.ts";
import type { KafkaRecord } from "./kafka-record.ts";

export type RecordHandler = (record: KafkaRecord, attempt: number) => Promise<void>;

export interface ReadRequest {
  topic: string;
  group: string;
  /** Messages in the handler at once, of all partitions together. */
  concurrencyMax: number;
  /** Messages of one partition in the handler at once. */
  perPartitionMax: number;
  /** A failed message comes again until it is handled; else it is passed over. */
  isRetried: boolean;
  handler: RecordHandler;
}

export interface Position {
  partition: number;
  leader: number;
  position: bigint;
  committed: bigint;
}

export interface AssignmentParts {
  link: KafkaLink;
  consumer: Consumer;
  request: ReadRequest;
  topicId: string;
  positions: readonly Position[];
  /** Called once, when it can not go on. */
  failed(error: Error): void;
}

type FetchResponse = Awaited<ReturnType<Consumer["fetch"]>>;

const fetchWaitMs = 250;
const fetchBytesMax = 50 * 1_048_576;
const commitPauseMs = 100;

/** The partitions that a member of a group has until the next rebalance. */
export class KafkaAssignment {
  readonly #parts: AssignmentParts;
  readonly #partitions: readonly KafkaPartition[];
  readonly #pool: ConnectionPool;
  readonly #stopped = new AbortController();
  readonly #handling = new Set<Promise<void>>();
  readonly #fetching: Promise<void>[] = [];
  #room = Promise.withResolvers<void>();
  #turn = 0;
  #committing: Promise<void> | undefined;

  constructor(parts: AssignmentParts) {
    this.#parts = parts;
    const { link, positions } = parts;
    this.#partitions = positions.map((one) => new KafkaPartition(one.partition, one.position, one.committed));
    // Its own connections: a fetch waits for messages, and what is behind it on a connection waits too.
    this.#pool = new link.module.ConnectionPool(link.settings.clientID, link.options);
    for (const leader of new Set(positions.map((one) => one.leader))) {
      const led = new Set(positions.filter((one) => one.leader === leader).map((one) => one.partition));
      this.#fetching.push(
        this.#fetchAll(
          leader,
          this.#partitions.filter((one) => led.has(one.partition)),
        ),
      );
    }
  }

  /** Begins no more handlers and waits for those at work. Returns where each partition stands. */
  async stop(): Promise<Map<number, bigint>> {
    this.#stopped.abort();
    this.#room.resolve();
    destroy(this.#pool);
    await Promise.all([...this.#fetching, ...this.#handling]);
    await this.#committing;
    return new Map(this.#partitions.map((one) => [one.partition, one.settled]));
  }

  /** Tells the broker what is settled, once. */
  async commit(): Promise<void> {
    const { consumer, request, link } = this.#parts;
    const dirty = this.#partitions.filter((one) => one.settled > one.committed);
    if (dirty.length === 0) return;
    const offsets = dirty.map(({ partition, settled: offset }) => ({
      ...{ topic: request.topic, partition, offset, leaderEpoch: -1 },
    }));
    await link.inTime(consumer.commit({ offsets }));
    for (const [index, one] of dirty.entries()) one.committed = offsets[index]?.offset ?? one.committed;
  }

  async #fetchAll(node: number, partitions: readonly KafkaPartition[]): Promise<void> {
    const { signal } = this.#stopped;
    try {
      while (!signal.aborted) {
        const wanted = partitions.filter(
          (one) => one.waitingCount < this.#parts.link.settings.channelBufferSize,
        );
        if (wanted.length === 0) {
          await this.#room.promise;
          continue;
        }
        const response = await this.#fetch(node, wanted);
        if (signal.aborted) return;
        for (const one of wanted) this.#take(one, response);
        this.#begin();
      }
    } catch (error) {
      if (!signal.aborted) this.#parts.failed(new Error(reasonOf(error), { cause: error }));
    }
  }

  #fetch(node: number, partitions: readonly KafkaPartition[]): Promise<FetchResponse> {
    const { consumer, topicId, link } = this.#parts;
    const { consumerFetchMin, consumerFetchDefault } = link.settings;
    const wanted = partitions.map(({ partition, position: fetchOffset }) => ({
      ...{ partition, fetchOffset, partitionMaxBytes: consumerFetchDefault },
      ...{ currentLeaderEpoch: -1, lastFetchedEpoch: -1 },
    }));
    return consumer.fetch({
      ...{ node, topics: [{ topicId, partitions: wanted }], connectionPool: this.#pool },
      ...{ minBytes: consumerFetchMin, maxBytes: fetchBytesMax, maxWaitTime: fetchWaitMs },
    });
  }

  #take(into: KafkaPartition, { responses }: FetchResponse): void {
    const { topic } = this.#parts.request;
    const { IS_CONTROL } = this.#parts.link.module;
    for (const response of responses) {
      for (const { partitionIndex, records } of response.partitions) {
        if (partitionIndex !== into.partition) continue;
        for (const batch of records ?? []) {
          for (const record of batch.attributes & IS_CONTROL ? [] : batch.records) {
            const offset = batch.firstOffset + BigInt(record.offsetDelta);
            // A batch is sent whole, also when the fetch begins in the middle of it.
            if (offset < into.position) continue;
            into.add({
              ...{ topic, partition: into.partition, offset },
              timestampMs: Number(batch.firstTimestamp + record.timestampDelta),
              key: record.key ?? undefined,
              value: record.value ?? new Uint8Array(),
              headers: record.headers.map(([name, value]) => [String(name ?? ""), String(value ?? "")]),
            });
          }
          const after = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
          if (after > into.position) into.position = after;
        }
      }
    }
  }

  /** Begins as many as may be at work, of the partitions in turns. */
  #begin(): void {
    const { concurrencyMax, perPartitionMax } = this.#parts.request;
    const count = this.#partitions.length;
    for (
      let idle = 0;
      idle < count && this.#handling.size < concurrencyMax && !this.#stopped.signal.aborted;
    ) {
      const partition = this.#partitions[this.#turn++ % count];
      const next =
        partition === undefined || partition.begunCount >= perPartitionMax ? undefined : partition.begin();
      idle = next === undefined ? idle + 1 : 0;
      if (next === undefined) continue;
      const work = this.#handle(next.record).then((state) => {
        this.#handling.delete(work);
        if (state !== undefined) next.end(state);
        if (state === "done") this.#commitSoon();
        this.#room.resolve();
        this.#room = Promise.withResolvers();
        this.#begin();
      });
      this.#handling.add(work);
    }
  }

  /** Undefined when it was left to the next assignment. Never rejects. */
  async #handle(record: KafkaRecord): Promise<"done" | "failed" | undefined> {
    const { request, link } = this.#parts;
    const { log } = link.surroundings;
    const { signal } = this.#stopped;
    for (let attempt = 1; ; attempt++) {
      try {
        await request.handler(record, attempt);
        return "done";
      } catch (error) {
        const { topic, partition, offset } = record;
        if (!request.isRetried) {
          log.warn(
            { error, topic, partition, offset: String(offset) },
            "a message was not handled and is passed over",
          );
          return "failed";
        }
        if (!signal.aborted) await link.pause(link.settings.consumeRetryInterval, signal);
        if (signal.aborted) return undefined;
      }
    }
  }

  #commitSoon(): void {
    this.#committing ??= this.#commitAll().finally(() => {
      this.#committing = undefined;
    });
  }

  /** A failed commit is made up for by the next; a member that was thrown out hears of it from its heartbeat. */
  async #commitAll(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted && this.#partitions.some((one) => one.settled > one.committed)) {
      try {
        await this.commit();
      } catch (error) {
        const { topic } = this.#parts.request;
        if (!signal.aborted) {
          this.#parts.link.surroundings.log.debug(
            { error, topic },
            "offsets could not be committed; trying again",
          );
        }
      }
      await this.#parts.link.pause(commitPauseMs, signal);
    }
  }
}
