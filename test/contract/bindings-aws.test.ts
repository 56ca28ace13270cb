import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateTopicCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import { CreateQueueCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import dynamodb from "../../src/components/bindings/aws.dynamodb.ts";
import sns from "../../src/components/bindings/aws.sns.ts";
import { signalTree } from "../signal-tree.ts";
import { componentHost } from "./component-host.ts";
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
