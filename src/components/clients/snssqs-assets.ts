import type { SNSClient } from "@aws-sdk/client-sns";
import type { SQSClient } from "@aws-sdk/client-sqs";
import type { AwsLink } from "./aws.ts";

export type Sns = typeof import("@aws-sdk/client-sns");
export type Sqs = typeof import("@aws-sdk/client-sqs");

export interface AssetSettings {
  fifo: boolean;
  disableEntityManagement: boolean;
  accountId: string | undefined;
  assetsManagementTimeoutSeconds: number;
  sqsDeadLettersQueueName: string | undefined;
  messageReceiveLimit: number | undefined;
}

export interface Queue {
  url: string;
  arn: string;
}

interface Parts {
  sns: Sns;
  sqs: Sqs;
  topics: AwsLink<SNSClient>;
  queues: AwsLink<SQSClient>;
  settings: AssetSettings;
}

interface Policy {
  Version: string;
  Statement: { Resource?: string; Condition?: { ArnEquals?: Record<string, string> } }[];
}

const nameLengthMax = 80;
const pagesMax = 100;

/** Topics, queues and what joins them, made in Dapr's names, or only found. */
export class SnsSqsAssets {
  readonly #parts: Parts;
  readonly #arns = new Map<string, Promise<string>>();
  /** A queue's policy is read and written: one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  topicArn(topic: string): Promise<string> {
    let found = this.#arns.get(topic);
    if (found === undefined) {
      found = this.#findTopic(awsName(topic, this.#parts.settings.fifo));
      this.#arns.set(topic, found);
      found.catch(() => this.#arns.delete(topic));
    }
    return found;
  }

  forgetTopic(topic: string): void {
    this.#arns.delete(topic);
  }

  /** The queue of a group, with where it puts what fails too often. */
  async queue(group: string): Promise<Queue> {
    const { settings, sqs } = this.#parts;
    const queue = await this.#findQueue(group);
    const { sqsDeadLettersQueueName, messageReceiveLimit, disableEntityManagement } = settings;
    if (sqsDeadLettersQueueName === undefined || disableEntityManagement) return queue;
    const { arn } = await this.#findQueue(sqsDeadLettersQueueName);
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: arn, maxReceiveCount: messageReceiveLimit });
    const command = new sqs.SetQueueAttributesCommand({ QueueUrl: queue.url, Attributes: { RedrivePolicy } });
    await this.#askQueues((client, options) => client.send(command, options));
    return queue;
  }

  /** The queue gets what is published to the topic. */
  join(topic: string, queue: Queue): Promise<void> {
    if (this.#parts.settings.disableEntityManagement) return Promise.resolve();
    const joined = this.#last.then(async () => {
      const arn = await this.topicArn(topic);
      await this.#allow(arn, queue);
      const command = new this.#parts.sns.SubscribeCommand({
        ...{ TopicArn: arn, Protocol: "sqs", Endpoint: queue.arn },
      });
      await this.#askTopics((client, options) => client.send(command, options));
    });
    this.#last = joined.catch(() => undefined);
    return joined;
  }

  async #findTopic(name: string): Promise<string> {
    const { settings, sns, topics } = this.#parts;
    if (settings.disableEntityManagement) {
      if (settings.accountId === undefined) return this.#listedTopic(name);
      const region = await topics.region();
      return `arn:${partitionOf(region)}:sns:${region}:${settings.accountId}:${name}`;
    }
    const fifo = { FifoTopic: "true", ContentBasedDeduplication: "true" };
    const command = new sns.CreateTopicCommand({
      ...{ Name: name, Tags: [{ Key: "dapr-topic-name", Value: name }] },
      ...(settings.fifo && { Attributes: fifo }),
    });
    const reply = await this.#askTopics((client, options) => client.send(command, options));
    return reply.TopicArn ?? "";
  }

  async #listedTopic(name: string): Promise<string> {
    let token: string | undefined;
    for (let page = 0; page < pagesMax; page++) {
      const command = new this.#parts.sns.ListTopicsCommand(token === undefined ? {} : { NextToken: token });
      const reply = await this.#askTopics((client, options) => client.send(command, options));
      const found = reply.Topics?.find(({ TopicArn = "" }) => TopicArn.endsWith(`:${name}`));
      if (found?.TopicArn !== undefined) return found.TopicArn;
      token = reply.NextToken;
      if (token === undefined) break;
    }
    throw new Error(`there is no topic ${name}, and disableEntityManagement is true`);
  }

  async #findQueue(group: string): Promise<Queue> {
    const { sqs, settings } = this.#parts;
    const QueueName = awsName(group, settings.fifo);
    const { QueueUrl = "" } = await this.#askQueues(async (client, options) => {
      if (settings.disableEntityManagement) {
        const QueueOwnerAWSAccountId = settings.accountId;
        const owner = QueueOwnerAWSAccountId === undefined ? {} : { QueueOwnerAWSAccountId };
        return client.send(new sqs.GetQueueUrlCommand({ QueueName, ...owner }), options);
      }
      const fifo = { FifoQueue: "true", ContentBasedDeduplication: "true" };
      const tags = { "dapr-queue-name": QueueName };
      return client.send(
        new sqs.CreateQueueCommand({ QueueName, tags, ...(settings.fifo && { Attributes: fifo }) }),
        options,
      );
    });
    const command = new sqs.GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["QueueArn"] });
    const { Attributes } = await this.#askQueues((client, options) => client.send(command, options));
    return { url: QueueUrl, arn: Attributes?.QueueArn ?? "" };
  }

  /** Of all the world only the topic may send to the queue. */
  async #allow(topicArn: string, queue: Queue): Promise<void> {
    const { sqs } = this.#parts;
    const read = new sqs.GetQueueAttributesCommand({ QueueUrl: queue.url, AttributeNames: ["Policy"] });
    const { Attributes } = await this.#askQueues((client, options) => client.send(read, options));
    const policy = policyOf(Attributes?.Policy);
    const isAllowed = policy.Statement.some(
      ({ Condition }) => Condition?.ArnEquals?.["aws:SourceArn"] === topicArn,
    );
    if (isAllowed) return;
    const statement = {
      ...{ Effect: "Allow", Principal: { Service: "sns.amazonaws.com" }, Action: "sqs:SendMessage" },
      ...{ Resource: queue.arn, Condition: { ArnEquals: { "aws:SourceArn": topicArn } } },
    };
    const Policy = JSON.stringify({ ...policy, Statement: [...policy.Statement, statement] });
    const write = new sqs.SetQueueAttributesCommand({ QueueUrl: queue.url, Attributes: { Policy } });
    await this.#askQueues((client, options) => client.send(write, options));
  }

  /** All of these may be done twice. */
  #askTopics<T>(send: Send<SNSClient, T>): Promise<T> {
    return this.#parts.topics.ask(send, this.#limits);
  }

  #askQueues<T>(send: Send<SQSClient, T>): Promise<T> {
    return this.#parts.queues.ask(send, this.#limits);
  }

  get #limits(): { isRead: boolean; timeoutMs: number } {
    return { isRead: true, timeoutMs: this.#parts.settings.assetsManagementTimeoutSeconds * 1000 };
  }
}

type Send<C, T> = (client: C, options: { abortSignal: AbortSignal }) => Promise<T>;

function policyOf(text: string | undefined): Policy {
  const none = { Version: "2012-10-17", Statement: [] };
  return text ? { ...none, ...(JSON.parse(text) as Partial<Policy>) } : none;
}

/** Dapr's: what AWS does not take in a name is left out. */
export function awsName(name: string, fifo: boolean): string {
  const suffix = fifo ? ".fifo" : "";
  const own = fifo && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  const plain = own.replace(/[^A-Za-z0-9_-]/g, "").slice(0, nameLengthMax - suffix.length);
  if (plain === "") throw new Error(`${JSON.stringify(name)} has no letter that AWS takes in a name`);
  return plain + suffix;
}

function partitionOf(region: string): string {
  if (region.startsWith("cn-")) return "aws-cn";
  return region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
}
