import type { DequeuedMessageItem, QueueClient } from "@azure/storage-queue";
import type { Binding, BindingEvent, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, number, type Options, text } from "../../component/fields.ts";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import { pause, pauseBefore } from "../../component/pause.ts";
import type { Edges } from "../../edges/edges.ts";
import { parseDuration } from "../../kit/duration.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { accountName, askAzure, azureStorageFields, serviceUrl } from "../clients/azure-storage.ts";

const fields = {
  ...azureStorageFields,
  accountName: text({ ...accountName, required: true }),
  queueName: text({
    description: "the queue; made when it is not there",
    aliases: ["queue", "storageAccountQueue"],
    required: true,
  }),
  queueEndpoint: text({
    description: "address before the account, as of the emulator: http://127.0.0.1:10001",
    aliases: ["endpoint", "storageEndpoint", "storageAccountEndpoint", "queueEndpointUrl"],
  }),
  pollingInterval: duration({
    description: "pause before an empty queue is asked again",
    default: 10_000,
    min: 100,
  }),
  ttl: duration({
    description: "how long a message is kept; a request may say another",
    aliases: ["ttlInSeconds"],
    default: 600_000,
    min: 1_000,
  }),
  decodeBase64: flag({ description: "messages that come are base64 of what they are", default: false }),
  encodeBase64: flag({ description: "messages that go are sent as base64", default: false }),
  visibilityTimeout: duration({
    description: "how soon a message comes again that was not taken",
    default: 30_000,
    min: 1_000,
    max: 604_800_000,
  }),
  initialVisibilityDelay: duration({
    description: "how late a message is seen; a request may say another",
    min: 0,
  }),
  concurrency: number({ description: "messages at work at most", default: 1, min: 1, max: 32 }),
};

export default component({
  type: "bindings.azure.storagequeues",
  version: "v1",
  status: "beta",
  summary: "Messages of Azure Storage Queues, in both directions",
  package: "@azure/storage-queue",
  metadata: fields,
  async open(options, { edges, log }): Promise<Binding> {
    const { accountName: account, accountKey, queueName, queueEndpoint, timeout: timeoutMs } = options;
    if (!accountKey) throw new Error("accountKey is missing");
    const url = serviceUrl("queue", account, queueEndpoint);
    const { QueueServiceClient, StorageSharedKeyCredential } = await import("@azure/storage-queue");
    const credential = new StorageSharedKeyCredential(account, accountKey);
    const clientOf = (retryOptions: object) =>
      new QueueServiceClient(url, credential, { retryOptions }).getQueueClient(queueName);
    const queue = clientOf({ maxTries: 3, retryDelayInMs: 100, maxRetryDelayInMs: 1_000 });
    // A message that was perhaps sent is not sent again.
    const sender = clientOf({ maxTries: 1 });
    const where = `queue ${queueName} at ${url}`;
    await askAzure({
      ...{ clock: edges.clock, timeoutMs, where, isRead: true },
      work: (abortSignal) => queue.createIfNotExists({ abortSignal }),
    });
    return new StorageQueue({ queue, sender, where, settings: options, edges, log });
  },
});

interface Parts {
  queue: QueueClient;
  /** Tries once. */
  sender: QueueClient;
  where: string;
  settings: Options<typeof fields>;
  edges: Edges;
  log: Log;
}
type Handler = (event: BindingEvent) => Promise<Uint8Array | undefined>;

const pauseMaxMs = 5_000;

class StorageQueue implements Binding {
  readonly operations = ["create"];
  readonly #parts: Parts;
  readonly #atWork = new MessagesAtWork();
  readonly #closed = new AbortController();
  #reading: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<undefined> {
    if (operation !== "create") throw new Error(`unsupported operation ${operation}`);
    const { settings, sender } = this.#parts;
    const ttlMs = msOf("ttlInSeconds", metadata.ttlInSeconds ?? metadata.ttl) ?? settings.ttl;
    const delayMs =
      msOf("initialVisibilityDelay", metadata.initialVisibilityDelay) ?? settings.initialVisibilityDelay;
    if (ttlMs < 1_000) throw new Error("ttlInSeconds is less than a second");
    const text = textOf(data);
    const sent = settings.encodeBase64 ? Buffer.from(text).toString("base64") : text;
    await this.#ask(false, (abortSignal) =>
      sender.sendMessage(sent, {
        ...{ abortSignal, messageTimeToLive: Math.floor(ttlMs / 1_000) },
        ...(delayMs !== undefined && { visibilityTimeout: Math.floor(delayMs / 1_000) }),
      }),
    );
    return undefined;
  }

  async read(handler: Handler): Promise<void> {
    this.#reading = this.#run(handler);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#reading;
    await this.#atWork.all();
  }

  async #run(handler: Handler): Promise<void> {
    const { settings, log, where, edges } = this.#parts;
    let failures = 0;
    while (!this.#closed.signal.aborted) {
      const room = settings.concurrency - this.#atWork.size;
      if (room <= 0) {
        await this.#atWork.one();
        continue;
      }
      try {
        const messages = await this.#receive(room);
        failures = 0;
        for (const one of messages)
          this.#atWork.start(one.messageId, undefined, () => this.#handle(one, handler));
        if (messages.length === 0) await this.#pause(settings.pollingInterval);
      } catch (error) {
        if (failures++ === 0) log.warn({ error }, `${where} can not be read; trying again`);
        const ms = pauseBefore(failures, { firstMs: 100, maxMs: pauseMaxMs, random: edges.random });
        await this.#pause(ms);
      }
    }
  }

  async #receive(room: number): Promise<DequeuedMessageItem[]> {
    const { queue, settings } = this.#parts;
    const visibilityTimeout = Math.floor(settings.visibilityTimeout / 1_000);
    const { receivedMessageItems } = await this.#ask(true, (late) =>
      queue.receiveMessages({
        ...{ numberOfMessages: room, visibilityTimeout },
        abortSignal: AbortSignal.any([late, this.#closed.signal]),
      }),
    );
    return receivedMessageItems;
  }

  /** Never rejects: what is not deleted comes again. */
  async #handle(message: DequeuedMessageItem, handler: Handler): Promise<void> {
    const { log, where, queue, settings } = this.#parts;
    const held = new HeldMessage(message, this.#parts);
    try {
      await handler(eventOf(message, settings.decodeBase64));
    } catch (error) {
      log.debug({ error }, `a message of ${where} was not taken`);
      return held.end();
    }
    await held.end();
    try {
      const { messageId } = message;
      await this.#ask(false, (abortSignal) => queue.deleteMessage(messageId, held.receipt, { abortSignal }));
    } catch (error) {
      log.warn({ error }, `a message of ${where} is done and could not be deleted: it comes again`);
    }
  }

  #ask<T>(isRead: boolean, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { edges, settings, where } = this.#parts;
    return askAzure({ ...{ clock: edges.clock, timeoutMs: settings.timeout, where, isRead }, work });
  }

  #pause(ms: number): Promise<void> {
    return pause(this.#parts.edges.clock, ms, this.#closed.signal);
  }
}

/** A message at work: nobody else gets it, however long that takes. */
class HeldMessage {
  receipt: string;
  readonly #message: DequeuedMessageItem;
  readonly #parts: Parts;
  #timer: { cancel(): void } | undefined;
  #renewing: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(message: DequeuedMessageItem, parts: Parts) {
    this.receipt = message.popReceipt;
    this.#message = message;
    this.#parts = parts;
    this.#arm();
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#timer?.cancel();
    await this.#renewing;
  }

  #arm(): void {
    const { edges, settings } = this.#parts;
    this.#timer = edges.clock.setTimer(settings.visibilityTimeout / 2, () => {
      this.#renewing = this.#renew().then(() => {
        if (!this.#isEnded) this.#arm();
      });
    });
  }

  async #renew(): Promise<void> {
    const { queue, settings, edges, where, log } = this.#parts;
    const { messageId, messageText } = this.#message;
    const seconds = Math.floor(settings.visibilityTimeout / 1_000);
    try {
      const { popReceipt } = await askAzure({
        ...{ clock: edges.clock, timeoutMs: settings.timeout, where, isRead: true },
        work: (abortSignal) =>
          queue.updateMessage(messageId, this.receipt, messageText, seconds, { abortSignal }),
      });
      if (popReceipt !== undefined) this.receipt = popReceipt;
    } catch (error) {
      log.warn({ error }, `a message of ${where} is at work and could not be held: it may come again`);
    }
  }
}

function eventOf(message: DequeuedMessageItem, isBase64: boolean): BindingEvent {
  const { messageText, messageId, popReceipt, dequeueCount } = message;
  const { insertedOn, expiresOn, nextVisibleOn } = message;
  if (isBase64 && !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(messageText)) throw new Error("it is no base64");
  const timeOf = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, "Z");
  return {
    data: Buffer.from(messageText, isBase64 ? "base64" : "utf8"),
    metadata: {
      ...{ messageID: messageId, popReceipt, dequeueCount: String(dequeueCount) },
      ...{ insertionTime: timeOf(insertedOn), expirationTime: timeOf(expiresOn) },
      nextVisibleTime: timeOf(nextVisibleOn),
    },
  };
}

/** A JSON text is its value, as it comes over HTTP. */
function textOf(data: Uint8Array): string {
  const text = Buffer.from(data).toString();
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

function msOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === "") return undefined;
  try {
    return /^\d+$/.test(value) ? Number(value) * 1_000 : parseDuration(value);
  } catch (error) {
    throw new Error(`invalid value for ${name}: ${JSON.stringify(value)} is no duration`, { cause: error });
  }
}
