import type {
  Consumer,
  GroupAssignment,
  GroupPartitionsAssigner,
  GroupPartitionsAssignments,
} from "@platformatic/kafka";
import { type KafkaLink, reasonOf, topicRetries } from "./kafka.ts";
import { KafkaAssignment, type Position, type ReadRequest } from "./kafka-assignment.ts";

const commitMs = 5_000;
const leaveMs = 1_000;
const joinTries = 30;
/** Above the session: a member may take so long to come back after a rebalance. */
const joinSpareMs = 5_000;

/** Reads a topic as a member of a group, and joins anew when its brokers were lost. */
export class KafkaGroupReader {
  readonly #link: KafkaLink;
  readonly #request: ReadRequest;
  /** How far each partition of each topic id was handled here: the broker may not have heard of it. */
  readonly #handled = new Map<string, bigint>();
  #session: GroupSession | undefined;
  #running: Promise<void> | undefined;
  readonly #closing = new AbortController();

  constructor(link: KafkaLink, request: ReadRequest) {
    this.#link = link;
    this.#request = request;
  }

  /** Resolves when what is published from now on is delivered. */
  async open(): Promise<void> {
    const { topic, group } = this.#request;
    try {
      this.#session = await GroupSession.open(this.#link, this.#request, this.#handled);
    } catch (error) {
      const text = `can not read the topic ${topic} as a member of the group ${group}: ${reasonOf(error)}`;
      throw new Error(text, { cause: error });
    }
    this.#running = this.#keep(this.#session);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#session?.close();
    await this.#running;
  }

  async #keep(first: GroupSession): Promise<void> {
    const { log } = this.#link.surroundings;
    const { topic } = this.#request;
    const { signal } = this.#closing;
    let session: GroupSession | undefined = first;
    for (let tries = 0; ; ) {
      const error = await session?.ended;
      if (signal.aborted) return;
      if (session !== undefined) {
        log.warn({ error, topic }, "a consumer of kafka was lost");
        await session.close();
      }
      await this.#link.pause(this.#link.pauseMs(tries++), signal);
      if (signal.aborted) return;
      try {
        session = await GroupSession.open(this.#link, this.#request, this.#handled);
        this.#session = session;
        tries = 0;
        if (signal.aborted) return await session.close();
      } catch (reason) {
        session = undefined;
        log.warn({ error: reason, topic }, "messages can not be read; trying again");
      }
    }
  }
}

/** One membership of a group, until its brokers are lost. */
class GroupSession {
  readonly #link: KafkaLink;
  readonly #request: ReadRequest;
  readonly #handled: Map<string, bigint>;
  readonly #consumer: Consumer;
  readonly #end = Promise.withResolvers<Error | undefined>();
  #assigning: Promise<void> = Promise.resolve();
  #assignment: KafkaAssignment | undefined;
  #topicId = "";
  readonly #over = new AbortController();

  private constructor(link: KafkaLink, request: ReadRequest, handled: Map<string, bigint>) {
    this.#link = link;
    this.#request = request;
    this.#handled = handled;
    const { heartbeatInterval, sessionTimeout, readTimeout, consumerGroupRebalanceStrategy } = link.settings;
    this.#consumer = new link.module.Consumer({
      ...link.options,
      requestTimeout: Math.max(readTimeout, sessionTimeout + joinSpareMs),
      groupId: request.group,
      retries: 0,
      heartbeatInterval: Math.min(heartbeatInterval, sessionTimeout),
      ...{ sessionTimeout, rebalanceTimeout: sessionTimeout, heartbeatStallTimeout: sessionTimeout },
      protocols: [{ name: consumerGroupRebalanceStrategy, version: 1 }],
      partitionAssigner: consumerGroupRebalanceStrategy === "range" ? rangeAssigner : roundRobinAssigner,
    });
  }

  static async open(
    link: KafkaLink,
    request: ReadRequest,
    handled: Map<string, bigint>,
  ): Promise<GroupSession> {
    const session = new GroupSession(link, request, handled);
    try {
      await session.#open();
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** With the reason, when there is one. */
  get ended(): Promise<Error | undefined> {
    return this.#end.promise;
  }

  /** Waits for the handlers at work. */
  async close(): Promise<void> {
    this.#finish(undefined);
    await this.#link.inTime(this.#assigning, commitMs).catch(() => undefined);
    await this.#stopAssignment(true);
    // The others of the group need not wait for the end of this session.
    const left = new Promise((done) => this.#consumer.leaveGroup(true, done));
    await this.#link.inTime(left, leaveMs).catch(() => undefined);
    await this.#link.leave(this.#consumer);
  }

  async #open(): Promise<void> {
    const consumer = this.#consumer;
    const { topic } = this.#request;
    consumer.on("error", (error: Error) => {
      if (!this.#link.module.findErrorBy(error, "needsRejoin", true)) this.#finish(error);
      else this.#join().catch((reason: Error) => this.#finish(reason));
    });
    consumer.on("consumer:heartbeat:stalled", () => {
      for (const [, { socket }] of consumer.connections) socket?.destroy();
      this.#assignAgain(new Error("no heartbeat was answered"));
    });
    consumer.on("consumer:group:join", () => this.#assignSoon(async () => {}));
    consumer.topics.track(topic);
    await this.#retried(() =>
      consumer.metadata({ topics: [topic], autocreateTopics: true, retries: topicRetries }),
    );
    await this.#join();
    await this.#assigning;
    if (this.#isEnded) throw await this.ended;
  }

  async #join(): Promise<void> {
    await this.#retried(() => this.#consumer.joinGroup({}));
  }

  /** While brokers are about to know what they do not know yet, or others of the group come and go. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    const { surroundings, settings } = this.#link;
    const endMs = surroundings.edges.clock.monotonicMs() + settings.readTimeout;
    for (let tries = 0; ; tries++) {
      try {
        return await this.#link.inTime(work(), settings.readTimeout + settings.sessionTimeout);
      } catch (error) {
        const { findErrorBy } = this.#link.module;
        const mayPass =
          findErrorBy(error as Error, "needsRejoin", true) !== null ||
          findErrorBy(error as Error, "canRetry", false) === null;
        const pauseMs = this.#link.pauseMs(Math.min(tries, 2));
        const isOver =
          this.#isEnded || tries >= joinTries || surroundings.edges.clock.monotonicMs() + pauseMs > endMs;
        if (!mayPass || isOver) throw error;
        await this.#link.pause(pauseMs, this.#over.signal);
      }
    }
  }

  /** The brokers are away for a while: it stays a member, and goes on where it was. */
  #assignAgain(error: Error): void {
    const { log } = this.#link.surroundings;
    if (!this.#isEnded)
      log.warn({ error, topic: this.#request.topic }, "messages can not be read; trying again");
    this.#assignSoon(async () => {
      await this.#stopAssignment();
      await this.#link.pause(this.#link.pauseMs(1), this.#over.signal);
    });
  }

  #assignSoon(before: () => Promise<void>): void {
    this.#assigning = this.#assigning
      .then(before)
      .then(() => this.#assign())
      .catch((error: Error) => this.#finish(error));
  }

  async #assign(): Promise<void> {
    await this.#stopAssignment();
    if (this.#isEnded) return;
    const positions = await this.#retried(() => this.#positions());
    if (this.#isEnded) return;
    const assignment = new KafkaAssignment({
      ...{ link: this.#link, consumer: this.#consumer, request: this.#request },
      ...{ topicId: this.#topicId, positions },
      failed: (error) => {
        if (this.#assignment === assignment) this.#assignAgain(error);
      },
    });
    this.#assignment = assignment;
    // Where a new group begins must outlive a crash: what is published meanwhile is for it too.
    await assignment.commit().catch((error: Error) => {
      if (!this.#link.module.findErrorBy(error, "needsRejoin", true)) throw error;
    });
  }

  async #stopAssignment(isLast = false): Promise<void> {
    const assignment = this.#assignment;
    this.#assignment = undefined;
    if (assignment === undefined) return;
    const settled = await assignment.stop();
    for (const [partition, offset] of settled) this.#handled.set(`${this.#topicId}/${partition}`, offset);
    if (isLast) await this.#link.inTime(assignment.commit(), commitMs).catch(() => undefined);
  }

  /** Where to go on: what was handled here or committed, or where a new group begins. */
  async #positions(): Promise<Position[]> {
    const { topic } = this.#request;
    const consumer = this.#consumer;
    const partitions = consumer.assignments?.find((one) => one.topic === topic)?.partitions ?? [];
    if (partitions.length === 0) return [];
    const metadata = await this.#link.inTime(consumer.metadata({ topics: [topic], forceUpdate: true }));
    const known = metadata.topics.get(topic);
    if (known === undefined) throw new Error(`the topic ${topic} is not there`);
    this.#topicId = known.id;
    const at = { topics: [topic], partitions: { [topic]: partitions } };
    const [oldest, newest, committed] = await this.#link.inTime(
      Promise.all([
        consumer.listOffsets({ ...at, timestamp: this.#link.module.ListOffsetTimestamps.EARLIEST }),
        consumer.listOffsets({ ...at, timestamp: this.#link.module.ListOffsetTimestamps.LATEST }),
        consumer.listCommittedOffsets({ topics: [{ topic, partitions }] }),
      ]),
    );
    const { initialOffset } = this.#link.settings;
    return partitions.map((partition) => {
      const [first = 0n, last = 0n] = [oldest.get(topic)?.[partition], newest.get(topic)?.[partition]];
      const told = committed.get(topic)?.[partition] ?? -1n;
      const handled = this.#handled.get(`${known.id}/${partition}`) ?? -1n;
      const reached = told > handled ? told : handled;
      const initial = initialOffset === "oldest" ? first : last;
      const wanted = reached < 0n ? initial : reached;
      const position = wanted < first ? first : wanted > last ? last : wanted;
      return { partition, leader: known.partitions[partition]?.leader ?? -1, position, committed: told };
    });
  }

  get #isEnded(): boolean {
    return this.#over.signal.aborted;
  }

  #finish(error: Error | undefined): void {
    this.#over.abort();
    this.#end.resolve(error);
  }
}

type Members = Parameters<GroupPartitionsAssigner>[1];

/** Each topic in runs, as Kafka's "range"; members may have different topics. */
const rangeAssigner: GroupPartitionsAssigner = (_current, members, _topics, metadata) => {
  return assigned(members, (topic, ids) => {
    const count = metadata.topics.get(topic)?.partitionsCount ?? 0;
    return Array.from({ length: count }, (_, partition) => ids[Math.floor((partition * ids.length) / count)]);
  });
};

const roundRobinAssigner: GroupPartitionsAssigner = (_current, members, _topics, metadata) => {
  let turn = 0;
  return assigned(members, (topic, ids) => {
    const count = metadata.topics.get(topic)?.partitionsCount ?? 0;
    return Array.from({ length: count }, () => ids[turn++ % ids.length]);
  });
};

/** `share` says for each partition of a topic which of its members has it. */
function assigned(
  members: Members,
  share: (topic: string, ids: string[]) => (string | undefined)[],
): GroupPartitionsAssignments[] {
  const result = new Map<string, Map<string, GroupAssignment>>();
  const byTopic = new Map<string, string[]>();
  for (const id of [...members.keys()].sort()) {
    result.set(id, new Map());
    for (const topic of members.get(id)?.topics ?? [])
      byTopic.set(topic, [...(byTopic.get(topic) ?? []), id]);
  }
  for (const topic of [...byTopic.keys()].sort()) {
    for (const [partition, id] of share(topic, byTopic.get(topic) ?? []).entries()) {
      const own = result.get(id ?? "");
      const before = own?.get(topic)?.partitions ?? [];
      own?.set(topic, { topic, partitions: [...before, partition] });
    }
  }
  return [...result].map(([memberId, assignments]) => ({ memberId, assignments }));
}
