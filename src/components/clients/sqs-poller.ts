import type { Message, SQSClient } from "@aws-sdk/client-sqs";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import type { MessageHandler, SubscribeRequest } from "../../component/pubsub.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { AwsLink } from "./aws.ts";
import { awsName, type Queue, type SnsSqsAssets, type Sqs } from "./snssqs-assets.ts";
import { incomingOf } from "./snssqs-message.ts";

export interface PollSettings {
  fifo: boolean;
  timeout: number;
  messageVisibilityTimeout: number;
  messageRetryLimit: number;
  messageWaitTimeSeconds: number;
  messageMaxNumber: number;
  concurrencyLimit: number;
  disableDeleteOnRetryLimit: boolean;
  sqsDeadLettersQueueName: string | undefined;
}

interface Parts {
  sqs: Sqs;
  queues: AwsLink<SQSClient>;
  assets: SnsSqsAssets;
  settings: PollSettings;
  edges: Edges;
  log: Log;
}

interface Consumer {
  topic: string;
  limit: number;
  handler: MessageHandler;
  atWork: MessagesAtWork;
}

/** The queue of one consumer group: the messages of all its topics come by it. */
export class SqsPoller {
  readonly #parts: Parts;
  readonly #group: string;
  readonly #consumers = new Set<Consumer>();
  #queue: Queue | undefined;
  #stop = new AbortController();
  #running: Promise<void> | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(group: string, parts: Parts) {
    this.#group = group;
    this.#parts = parts;
  }

  async add(request: SubscribeRequest, handler: MessageHandler): Promise<{ close(): Promise<void> }> {
    const { settings, assets } = this.#parts;
    this.#queue ??= await assets.queue(this.#group);
    await assets.join(request.topic, this.#queue);
    const most = Math.max(request.concurrencyMax, request.bulkMax ?? 0);
    const limit = settings.concurrencyLimit > 0 ? Math.min(most, settings.concurrencyLimit) : most;
    const consumer = { topic: request.topic, limit, handler, atWork: new MessagesAtWork() };
    this.#consumers.add(consumer);
    this.#tell();
    if (this.#running === undefined) {
      this.#stop = new AbortController();
      this.#running = this.#run(this.#stop.signal);
    }
    return { close: () => this.#remove(consumer) };
  }

  async #remove(consumer: Consumer): Promise<void> {
    this.#consumers.delete(consumer);
    this.#tell();
    if (this.#consumers.size === 0) {
      this.#stop.abort();
      const running = this.#running;
      this.#running = undefined;
      await running;
    }
    await consumer.atWork.all();
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { queues, log } = this.#parts;
    for (let tries = 0; !signal.aborted && !queues.isClosed; ) {
      const free = this.#free();
      if (free <= 0) {
        const ones = [...this.#consumers].filter(({ atWork }) => atWork.size > 0);
        await Promise.race([this.#changed.promise, ...ones.map(({ atWork }) => atWork.one())]);
        continue;
      }
      try {
        const messages = await this.#receive(free, signal);
        tries = 0;
        const failed = new Set<string>();
        for (const message of messages) this.#begin(message, failed);
      } catch (error) {
        if (signal.aborted || queues.isClosed) return;
        if (tries === 0)
          log.warn({ error, queue: this.#group }, "messages can not be received; trying again");
        await queues.pause(queues.pauseMs(tries++));
        if (/NonExistentQueue|QueueDoesNotExist/.test((error as Error).name)) await this.#makeAgain();
      }
    }
  }

  /** Somebody has deleted what was there. */
  async #makeAgain(): Promise<void> {
    const { assets, log } = this.#parts;
    try {
      const queue = await assets.queue(this.#group);
      this.#queue = queue;
      for (const topic of new Set([...this.#consumers].map((one) => one.topic))) {
        assets.forgetTopic(topic);
        await assets.join(topic, queue);
      }
    } catch (error) {
      log.warn({ error, queue: this.#group }, "the queue can not be made again");
    }
  }

  /** So many as each topic has room for: whose a message is shows when it is there. */
  #free(): number {
    const byTopic = new Map<string, number>();
    for (const { topic, limit, atWork } of this.#consumers) {
      byTopic.set(topic, (byTopic.get(topic) ?? 0) + Math.max(0, limit - atWork.size));
    }
    return Math.min(this.#parts.settings.messageMaxNumber, ...byTopic.values());
  }

  async #receive(count: number, signal: AbortSignal): Promise<Message[]> {
    const { sqs, queues, settings } = this.#parts;
    const command = new sqs.ReceiveMessageCommand({
      QueueUrl: this.#queue?.url,
      MaxNumberOfMessages: count,
      VisibilityTimeout: settings.messageVisibilityTimeout,
      WaitTimeSeconds: settings.messageWaitTimeSeconds,
      MessageSystemAttributeNames: ["ApproximateReceiveCount", "MessageGroupId"],
    });
    const timeoutMs = settings.messageWaitTimeSeconds * 1000 + settings.timeout;
    const { Messages = [] } = await queues.ask((client, options) => client.send(command, options), {
      ...{ timeoutMs, signal },
    });
    return Messages;
  }

  /** `failed`: the groups of this batch whose order would be broken. */
  #begin(message: Message, failed: Set<string>): void {
    const { settings, log } = this.#parts;
    const id = message.MessageId ?? "";
    try {
      const { topicName, ...incoming } = incomingOf(message.Body ?? "");
      const consumer = this.#consumerOf(topicName);
      if (consumer === undefined) throw new Error(`nobody here subscribes to its topic ${topicName}`);
      const attempt = Number(message.Attributes?.ApproximateReceiveCount ?? 1);
      const order = settings.fifo ? message.Attributes?.MessageGroupId : incoming.metadata.partitionKey;
      consumer.atWork.start(message, order, async () => {
        if (settings.fifo && failed.has(order ?? "")) return;
        const isDone = await this.#handle(message, () =>
          consumer.handler({ ...incoming, topic: consumer.topic, attempt }),
        );
        if (!isDone) failed.add(order ?? "");
      });
    } catch (error) {
      log.error({ error, id, queue: this.#group }, "a message can not be handled");
      if (this.#isOverLimit(message)) void this.#delete(message);
    }
  }

  #consumerOf(topicName: string): Consumer | undefined {
    const { fifo } = this.#parts.settings;
    const mine = [...this.#consumers].filter(({ topic }) => awsName(topic, fifo) === topicName);
    return mine.sort((a, b) => b.limit - b.atWork.size - (a.limit - a.atWork.size))[0];
  }

  /** Never rejects. What is not deleted comes again when its time is over. */
  async #handle(message: Message, run: () => Promise<void>): Promise<boolean> {
    const { log } = this.#parts;
    const sign = this.#signsOfLife(message);
    try {
      await run();
      await this.#delete(message);
      return true;
    } catch {
      if (!this.#isOverLimit(message)) return false;
      log.error({ id: message.MessageId }, "a message failed messageRetryLimit times and is deleted");
      await this.#delete(message);
      return false;
    } finally {
      sign.cancel();
    }
  }

  #isOverLimit({ Attributes }: Message): boolean {
    const { messageRetryLimit, disableDeleteOnRetryLimit, sqsDeadLettersQueueName } = this.#parts.settings;
    if (disableDeleteOnRetryLimit || sqsDeadLettersQueueName !== undefined) return false;
    return Number(Attributes?.ApproximateReceiveCount ?? 1) >= messageRetryLimit;
  }

  /** Nobody else gets it while it is at work. */
  #signsOfLife({ ReceiptHandle }: Message): { cancel(): void } {
    const { sqs, queues, settings, edges } = this.#parts;
    const VisibilityTimeout = settings.messageVisibilityTimeout;
    const command = new sqs.ChangeMessageVisibilityCommand({
      ...{ QueueUrl: this.#queue?.url, ReceiptHandle, VisibilityTimeout },
    });
    const everyMs = VisibilityTimeout * 500;
    const say = (): void => {
      timer = edges.clock.setTimer(everyMs, say);
      const options = { isRead: true, timeoutMs: everyMs };
      queues.ask((client, more) => client.send(command, more), options).catch(() => undefined);
    };
    let timer = edges.clock.setTimer(everyMs, say);
    return { cancel: () => timer.cancel() };
  }

  async #delete({ ReceiptHandle, MessageId }: Message): Promise<void> {
    const { sqs, queues, log } = this.#parts;
    const command = new sqs.DeleteMessageCommand({ QueueUrl: this.#queue?.url, ReceiptHandle });
    try {
      await queues.ask((client, options) => client.send(command, options), { isRead: true });
    } catch (error) {
      log.warn({ error, id: MessageId }, "a message that was handled can not be deleted: it comes again");
    }
  }
}
