import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { PublishCommand, SNSClient } from "@aws-sdk/client-sns";
import {
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import type { PubSub } from "../../src/component/pubsub.ts";
import snssqs from "../../src/components/pubsub/aws.snssqs.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startMoto, type TestMoto } from "./moto.ts";
import { prefixedTopics } from "./prefixed-topics.ts";
import { pubsubContract, subscription } from "./pubsub.ts";
import { rejection } from "./state.ts";

let server: TestMoto;
let number = 0;
beforeAll(async () => {
  server = await startMoto();
}, 120_000);
afterAll(() => server.stop());

const soon = { messageVisibilityTimeout: "2", messageWaitTimeSeconds: "1" };
const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  snssqs.open(server.options(snssqs, { ...soon, ...items }), componentHost());

/** Groups are queues: each test has its own, too. */
async function prefixed(prefix: string, items: Record<string, string> = {}): Promise<PubSub> {
  const { subscribe, ...rest } = prefixedTopics(await open(items), prefix);
  return {
    ...rest,
    subscribe: (request, handler) =>
      subscribe({ ...request, consumerGroup: prefix + request.consumerGroup }, handler),
  };
}

pubsubContract(
  "pubsub.aws.snssqs",
  // A quarter of a megabyte for the message, as base64, and its attribute. A message that moto gets no time to see
  // deleted in two seconds comes again.
  { features: [], isDurable: true, keepsOrder: false, dataBytesMax: 190_000, atOnce: 10 },
  async () => {
    const prefix = `t${++number}-`;
    let pubsub = await prefixed(prefix);
    return {
      get pubsub() {
        return pubsub;
      },
      async reopen() {
        await pubsub.close();
        pubsub = await prefixed(prefix);
        return pubsub;
      },
      close: () => pubsub.close(),
    };
  },
);

describe("pubsub.aws.snssqs", () => {
  const message = { topic: "orders", data: Buffer.from("x"), contentType: "", metadata: {} };
  const sqs = () => new SQSClient(server.client);
  const urlOf = async (QueueName: string): Promise<string> =>
    (await sqs().send(new GetQueueUrlCommand({ QueueName }))).QueueUrl ?? "";

  test("has Dapr's layout: what Dapr publishes arrives, and a queue that only its topic may fill", async () => {
    const pubsub = await open();
    const seen: string[] = [];
    const request = subscription({ topic: "layout.eu", consumerGroup: "app-layout" });
    await pubsub.subscribe(
      request,
      async ({ data, topic }) => void seen.push(`${topic} ${Buffer.from(data)}`),
    );
    const TopicArn = "arn:aws:sns:us-east-1:123456789012:layouteu";
    await new SNSClient(server.client).send(new PublishCommand({ TopicArn, Message: '{"id":"1"}' }));
    await eventually("it is there", () => seen.length === 1);
    expect(seen).toEqual(['layout.eu {"id":"1"}']);
    const asked = { QueueUrl: await urlOf("app-layout"), AttributeNames: ["Policy" as const] };
    const { Attributes } = await sqs().send(new GetQueueAttributesCommand(asked));
    expect(Attributes?.Policy).toContain(TopicArn);
    await pubsub.close();
  });

  test("renews a message while it is at work: nobody else gets it", async () => {
    const pubsub = await open();
    let runs = 0;
    let finish = () => {};
    const working = new Promise<void>((done) => {
      finish = done;
    });
    await pubsub.subscribe(subscription({ topic: "long", consumerGroup: "long" }), async () => {
      runs++;
      await working;
    });
    await pubsub.publish({ ...message, topic: "long" });
    await eventually("it is at work", () => runs === 1);
    await new Promise((done) => setTimeout(done, 3_000));
    const QueueUrl = await urlOf("long");
    const { Messages = [] } = await sqs().send(new ReceiveMessageCommand({ QueueUrl }));
    expect([runs, Messages.length]).toEqual([1, 0]);
    finish();
    const count = async () => {
      const AttributeNames = ["ApproximateNumberOfMessagesNotVisible" as const];
      const reply = await sqs().send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }));
      return reply.Attributes?.ApproximateNumberOfMessagesNotVisible;
    };
    await eventually("it is deleted", async () => (await count()) === "0");
    await pubsub.close();
  });

  test("deletes a message that failed messageRetryLimit times, or gives it to the dead letters", async () => {
    for (const [group, items] of [
      ["limited", { messageRetryLimit: "2" }],
      ["lettered", { sqsDeadLettersQueueName: "dead", messageReceiveLimit: "2" }],
    ] as const) {
      const pubsub = await open(items);
      let runs = 0;
      await pubsub.subscribe(subscription({ topic: group, consumerGroup: group }), async () => {
        runs++;
        throw new Error("never");
      });
      await pubsub.publish({ ...message, topic: group });
      await eventually("it failed twice", () => runs === 2);
      const QueueUrl = await urlOf(group);
      const AttributeNames = [
        "ApproximateNumberOfMessages" as const,
        "ApproximateNumberOfMessagesNotVisible" as const,
      ];
      await eventually("it is gone", async () => {
        const { Attributes } = await sqs().send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }));
        return Object.values(Attributes ?? {}).every((count) => count === "0");
      });
      expect(runs).toBe(2);
      await pubsub.close();
    }
    const dead = new ReceiveMessageCommand({ QueueUrl: await urlOf("dead") });
    expect((await sqs().send(dead)).Messages).toHaveLength(1);
  }, 30_000);

  test("keeps the order of a FIFO group, over a failure too", async () => {
    // moto mixes up the messages of a batch that come again: one at a time.
    const pubsub = await open({ fifo: "true", messageMaxNumber: "1" });
    const done: string[] = [];
    let isFirst = true;
    const request = subscription({ topic: "line", consumerGroup: "line" });
    await pubsub.subscribe(request, async ({ data }) => {
      const text = Buffer.from(data).toString();
      if (text === "1" && isFirst) {
        isFirst = false;
        throw new Error("once");
      }
      done.push(text);
    });
    for (let index = 0; index < 5; index++) {
      await pubsub.publish({ ...message, topic: "line", data: Buffer.from(String(index)) });
    }
    await eventually("all are there", () => done.length === 5);
    expect(done).toEqual(["0", "1", "2", "3", "4"]);
    await pubsub.close();
  });

  test("makes nothing when it is told so", async () => {
    const strict = await open({ disableEntityManagement: "true" });
    const error = await rejection(strict.publish({ ...message, topic: "nowhere" }));
    expect(String(error)).toContain("there is no topic nowhere");
    await strict.close();
    const maker = await open();
    await maker.subscribe(subscription({ topic: "there", consumerGroup: "there" }), async () => {});
    await maker.close();
    const again = await open({ disableEntityManagement: "true", accountId: "123456789012" });
    const seen: string[] = [];
    const request = subscription({ topic: "there", consumerGroup: "there" });
    await again.subscribe(request, async ({ data }) => void seen.push(Buffer.from(data).toString()));
    await again.publish({ ...message, topic: "there" });
    await eventually("it is there", () => seen.length === 1);
    await again.close();
  });

  test("says what is wrong with its metadata", async () => {
    const said = async (items: Record<string, string>) =>
      String(await rejection(Promise.resolve().then(() => open(items))));
    expect(await said({ messageWaitTimeSeconds: "0" })).toContain("messageWaitTimeSeconds");
    expect(await said({ messageMaxNumber: "11" })).toContain("messageMaxNumber");
    expect(await said({ sqsDeadLettersQueueName: "d" })).toContain("messageReceiveLimit");
    expect(await said({ partition: "aws-cn" })).toContain("partition");
    expect(await said({ endpoint: "http://127.0.0.1:1" })).toContain("ECONNREFUSED");
  });
});
