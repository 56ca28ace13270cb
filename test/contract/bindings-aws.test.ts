import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateTopicCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import dynamodb from "../../src/components/bindings/aws.dynamodb.ts";
import sns from "../../src/components/bindings/aws.sns.ts";
import sqs from "../../src/components/bindings/aws.sqs.ts";
import { signalTree } from "../signal-tree.ts";
import { componentHost, eventually } from "./component-host.ts";
import { makeTable } from "./dynamodb.ts";
import { startMoto, type TestMoto } from "./moto.ts";

let server: TestMoto;
beforeAll(async () => {
  server = await startMoto();
}, 120_000);
afterAll(() => server.stop());

const request = (data: unknown, operation = "create") => ({
  ...{ operation, metadata: {} },
  data: Buffer.from(typeof data === "string" ? data : JSON.stringify(data)),
});

describe("bindings.aws.dynamodb", () => {
  test("writes an item of every kind of JSON, and ends in time when the server is frozen", async () => {
    await makeTable(server, "items", "id");
    const items = { table: "items", timeout: "500ms" };
    const binding = await dynamodb.open(server.options(dynamodb, items), componentHost());
    await binding.invoke?.(request({ id: "1", n: 1.5, yes: true, no: null, list: ["a", 2], map: { x: "" } }));
    const command = new GetItemCommand({ TableName: "items", Key: { id: { S: "1" } } });
    expect((await new DynamoDBClient(server.client).send(command)).Item).toEqual({
      ...{ id: { S: "1" }, n: { N: "1.5" }, yes: { BOOL: true }, no: { NULL: true } },
      ...{ list: { L: [{ S: "a" }, { N: "2" }] }, map: { M: { x: { S: "" } } } },
    });
    for (const [data, said] of [
      ["[1]", "no JSON object"],
      ["{", "JSON"],
      [{ other: "x" }, "id"],
    ] as const) {
      const error = await binding.invoke?.(request(data)).catch((e) => e);
      expect(String(error)).toContain(said);
    }
    expect(String(await binding.invoke?.(request({}, "get")).catch((e) => e))).toContain("get");
    signalTree(server.server.pid, "STOP");
    const late = await binding.invoke?.(request({ id: "2" })).catch((e) => e);
    signalTree(server.server.pid, "CONT");
    expect(late).toBeInstanceOf(ServerUnavailable);
    await binding.close();
  });
});

describe("bindings.aws.sns", () => {
  test("publishes a message with its subject", async () => {
    const [topics, queues] = [new SNSClient(server.client), new SQSClient(server.client)];
    const { TopicArn = "" } = await topics.send(new CreateTopicCommand({ Name: "news" }));
    const { QueueUrl = "" } = await queues.send(new CreateQueueCommand({ QueueName: "news" }));
    const Endpoint = "arn:aws:sqs:us-east-1:123456789012:news";
    await topics.send(new SubscribeCommand({ TopicArn, Protocol: "sqs", Endpoint }));
    const binding = await sns.open(server.options(sns, { topicArn: TopicArn }), componentHost());
    await binding.invoke?.(request({ message: "hello", subject: "greeting" }));
    const { Messages = [] } = await queues.send(new ReceiveMessageCommand({ QueueUrl }));
    expect(JSON.parse(Messages[0]?.Body ?? "")).toMatchObject({ Message: "hello", Subject: "greeting" });
    const none = await binding.invoke?.(request({ subject: "x" })).catch((e) => e);
    expect(none.message).toContain("no message");
    await binding.close();
  });
});

describe("bindings.aws.sqs", () => {
  test("sends and reads; deletes only what was handled", async () => {
    const queues = new SQSClient(server.client);
    const { QueueUrl = "" } = await queues.send(new CreateQueueCommand({ QueueName: "work" }));
    const binding = await sqs.open(server.options(sqs, { queueName: "work" }), componentHost());
    const seen: string[] = [];
    await binding.invoke?.(request("good"));
    await binding.invoke?.(request("bad"));
    await binding.read?.(async ({ data }) => {
      seen.push(Buffer.from(data).toString());
      if (seen.at(-1) === "bad") throw new Error("no");
      return undefined;
    });
    await eventually("both are there", () => seen.length === 2);
    const left = async () => {
      const AttributeNames = ["ApproximateNumberOfMessagesNotVisible" as const];
      const reply = await queues.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames }));
      return reply.Attributes?.ApproximateNumberOfMessagesNotVisible;
    };
    await eventually("what was handled is deleted", async () => (await left()) === "1");
    await binding.close();
    expect(seen.sort()).toEqual(["bad", "good"]);
    expect(await left()).toBe("1");
  });
});
