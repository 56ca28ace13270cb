import type { SNSClient } from "@aws-sdk/client-sns";
import type { SQSClient } from "@aws-sdk/client-sqs";
import { component } from "../../component/component.ts";
import { flag, number, text } from "../../component/fields.ts";
import { OpenSubscriptions } from "../../component/open-subscriptions.ts";
import type {
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";
import { type AssetSettings, type Sns, SnsSqsAssets, type Sqs } from "../clients/snssqs-assets.ts";
import { outgoingOf } from "../clients/snssqs-message.ts";
import { type PollSettings, SqsPoller } from "../clients/sqs-poller.ts";

export default component({
  type: "pubsub.aws.snssqs",
  version: "v1",
  status: "stable",
  summary: "Topics of AWS SNS and a queue of SQS for each consumer group, in Dapr's layout",
  package: "@aws-sdk/client-sqs",
  metadata: {
    ...awsFields,
    accessKey: text({ ...awsFields.accessKey, sensitive: true, aliases: ["awsAccountID"] }),
    secretKey: text({ ...awsFields.secretKey, sensitive: true, aliases: ["awsSecret"] }),
    messageVisibilityTimeout: number({
      description:
        "seconds until a message comes again that was not handled; while it is at work they are renewed",
      default: 10,
      min: 1,
      max: 43_200,
    }),
    messageRetryLimit: number({
      description: "a message that failed so often is deleted, when there is no queue for dead letters",
      default: 10,
      min: 2,
    }),
    disableDeleteOnRetryLimit: flag({
      description: "nothing is deleted but what was handled",
      default: false,
    }),
    sqsDeadLettersQueueName: text({ description: "queue for what was received too often" }),
    messageReceiveLimit: number({
      description: "receipts until a message is a dead letter",
      min: 1,
      max: 1_000,
    }),
    messageWaitTimeSeconds: number({
      description: "how long one request waits for messages",
      ...{ default: 2, min: 1, max: 20 },
    }),
    messageMaxNumber: number({ description: "messages of one request", default: 10, min: 1, max: 10 }),
    fifo: flag({ description: "FIFO topics and queues: in order by group", default: false }),
    fifoMessageGroupID: text({
      description: "group of all messages; by default their partitionKey, else the consumerID",
    }),
    consumerID: text({ description: "consumer group, which names the queue; by default the app id" }),
    disableEntityManagement: flag({
      description: "topics, queues and what joins them are there; nothing is made",
      default: false,
    }),
    assetsManagementTimeoutSeconds: number({
      description: "longest wait for an answer when they are made",
      ...{ default: 5, min: 0.1, max: 600, fraction: true },
    }),
    concurrencyLimit: number({
      description: "messages at work at once; 0: as Dapr's API says",
      default: 0,
      min: 0,
    }),
    accountId: text({ description: "the account's number; by default it is asked for" }),
    partition: text({ description: "of the names of AWS", missing: "it follows from the region" }),
  },
  async open(options, host): Promise<PubSub> {
    const { sqsDeadLettersQueueName: deadLetters, messageReceiveLimit, disableDeleteOnRetryLimit } = options;
    if (!deadLetters !== !messageReceiveLimit) {
      throw new Error("sqsDeadLettersQueueName and messageReceiveLimit need each other");
    }
    if (deadLetters && disableDeleteOnRetryLimit) {
      throw new Error("disableDeleteOnRetryLimit can not be true with sqsDeadLettersQueueName");
    }
    const sns = await import("@aws-sdk/client-sns");
    const sqs = await import("@aws-sdk/client-sqs");
    const clientOptions = clientOptionsOf(options);
    const topics = new AwsLink("sns", new sns.SNSClient(clientOptions), options, host);
    const queues = new AwsLink("sqs", new sqs.SQSClient(clientOptions), options, host);
    const groupID = options.fifoMessageGroupID;
    const ownGroup = options.consumerID || host.appId;
    const pubsub = new SnsSqsPubSub({ sns, sqs, topics, queues, ...host }, { ...options, groupID, ownGroup });
    try {
      const list = new sqs.ListQueuesCommand({ MaxResults: 1 });
      if (!options.disableEntityManagement)
        await queues.ask((client, more) => client.send(list, more), { isRead: true });
    } catch (error) {
      await pubsub.close();
      throw error;
    }
    return pubsub;
  },
});

interface Parts {
  sns: Sns;
  sqs: Sqs;
  topics: AwsLink<SNSClient>;
  queues: AwsLink<SQSClient>;
  edges: Edges;
  log: Log;
}

interface Settings extends AssetSettings, PollSettings {
  groupID: string | undefined;
  ownGroup: string;
}

class SnsSqsPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set();
  readonly #parts: Parts;
  readonly #settings: Settings;
  readonly #assets: SnsSqsAssets;
  readonly #pollers = new Map<string, SqsPoller>();
  readonly #subscriptions = new OpenSubscriptions();

  constructor(parts: Parts, settings: Settings) {
    this.#parts = parts;
    this.#settings = settings;
    this.#assets = new SnsSqsAssets({ ...parts, settings });
  }

  async publish(message: OutgoingMessage): Promise<void> {
    // The caller's bytes may change before they are sent.
    const outgoing = { ...outgoingOf(message), ...this.#order(message) };
    for (let tries = 0; ; tries++) {
      const TopicArn = await this.#assets.topicArn(message.topic);
      const command = new this.#parts.sns.PublishCommand({ ...outgoing, TopicArn });
      try {
        await this.#parts.topics.ask((client, options) => client.send(command, options));
        return;
      } catch (error) {
        // Somebody has deleted the topic: nothing was published.
        if ((error as Error).name !== "NotFoundException" || tries > 0) throw error;
        this.#assets.forgetTopic(message.topic);
      }
    }
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const { consumerGroup } = request;
    let poller = this.#pollers.get(consumerGroup);
    if (poller === undefined) {
      poller = new SqsPoller(consumerGroup, {
        ...{ sqs: this.#parts.sqs, queues: this.#parts.queues, assets: this.#assets },
        ...{ settings: this.#settings, edges: this.#parts.edges, log: this.#parts.log },
      });
      this.#pollers.set(consumerGroup, poller);
    }
    return this.#subscriptions.add(await poller.add(request, handler));
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await Promise.all([this.#parts.topics.close(), this.#parts.queues.close()]);
  }

  #order({ metadata, data }: OutgoingMessage): { MessageGroupId?: string; MessageDeduplicationId?: string } {
    const { fifo, groupID, ownGroup } = this.#settings;
    if (!fifo) return {};
    const MessageGroupId = groupID || metadata.partitionKey || ownGroup;
    return { MessageGroupId, MessageDeduplicationId: eventId(data) ?? this.#parts.edges.random.uuid() };
  }
}

/** An event that is published twice comes once; AWS takes no longer id. */
function eventId(data: Uint8Array): string | undefined {
  try {
    const { id } = JSON.parse(Buffer.from(data).toString()) as { id?: unknown };
    return typeof id === "string" && /^[\x21-\x7e]{1,128}$/.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}
