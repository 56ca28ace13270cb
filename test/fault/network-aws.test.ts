// Bindings and secret stores of AWS that share their client with others, one after the other over one server.
import { afterAll, beforeAll } from "bun:test";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { CreateTopicCommand, SNSClient, SubscribeCommand } from "@aws-sdk/client-sns";
import { CreateQueueCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import type { Binding } from "../../src/component/binding.ts";
import type { SecretStore } from "../../src/component/secret-store.ts";
import dynamodb from "../../src/components/bindings/aws.dynamodb.ts";
import sns from "../../src/components/bindings/aws.sns.ts";
import sqs from "../../src/components/bindings/aws.sqs.ts";
import parameters from "../../src/components/secretstores/aws.parameterstore.ts";
import secrets from "../../src/components/secretstores/aws.secretmanager.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { makeTable } from "../contract/dynamodb.ts";
import { startMoto, type TestMoto } from "../contract/moto.ts";
import { type Caller, networkedCalls } from "./network-calls.ts";

let moto: TestMoto;
beforeAll(async () => {
  moto = await startMoto();
}, 240_000);
afterAll(() => moto.stop());

/** The server itself is asked by clients that do not go through the proxy. */
function networked<C extends { destroy(): void }>(
  name: string,
  connect: () => C,
  prepare: (direct: C) => Promise<(items: Record<string, string>) => Promise<Caller>>,
): void {
  networkedCalls({
    name,
    async start() {
      const direct = connect();
      const openWith = await prepare(direct);
      return {
        port: moto.server.port,
        open: (port) => openWith({ endpoint: `http://127.0.0.1:${port}`, timeout: "2s" }),
        stop: async () => direct.destroy(),
      };
    },
  });
}

let count = 0;

networked(
  "bindings.aws.dynamodb",
  () => new DynamoDBClient(moto.client),
  async (direct) => {
    await makeTable(moto, "net", "id");
    return async (items) => {
      const options = { ...items, table: "net" };
      const binding = await dynamodb.open(moto.options(dynamodb, options), componentHost());
      return {
        async call(text) {
          const id = String(++count);
          await create(binding, JSON.stringify({ id, text }));
          const { Item } = await direct.send(
            new GetItemCommand({ TableName: "net", Key: { id: { S: id } } }),
          );
          return Item?.text?.S ?? "";
        },
        close: () => binding.close(),
      };
    };
  },
);

networked(
  "bindings.aws.sns",
  () => new SQSClient(moto.client),
  async (direct) => {
    const topics = new SNSClient(moto.client);
    const { TopicArn = "" } = await topics.send(new CreateTopicCommand({ Name: "net" }));
    const arrived = await queueOf(direct, "topic");
    const Endpoint = "arn:aws:sqs:us-east-1:123456789012:topic";
    await topics.send(new SubscribeCommand({ TopicArn, Protocol: "sqs", Endpoint }));
    topics.destroy();
    return async (items) => {
      const options = { ...items, topicArn: TopicArn };
      const binding = await sns.open(moto.options(sns, options), componentHost());
      return {
        async call(text) {
          const subject = String(++count);
          await create(binding, JSON.stringify({ message: text, subject }));
          return arrived((body) => {
            const { Subject, Message } = JSON.parse(body);
            return Subject === subject ? Message : undefined;
          });
        },
        close: () => binding.close(),
      };
    };
  },
);

networked(
  "bindings.aws.sqs",
  () => new SQSClient(moto.client),
  async (direct) => {
    const arrived = await queueOf(direct, "net");
    return async (items) => {
      const binding = await sqs.open(moto.options(sqs, { ...items, queueName: "net" }), componentHost());
      return {
        async call(text) {
          const mark = `${++count} `;
          await create(binding, mark + text);
          return arrived((body) => (body.startsWith(mark) ? body.slice(mark.length) : undefined));
        },
        close: () => binding.close(),
      };
    };
  },
);

networked(
  "secretstores.aws.parameterstore",
  () => new SSMClient(moto.client),
  async (direct) => async (items) => {
    const store = await parameters.open(moto.options(parameters, items), componentHost());
    return secretCaller(store, async (Name, Value) => {
      await direct.send(new PutParameterCommand({ Name, Value, Type: "SecureString", Tier: "Advanced" }));
    });
  },
);

networked(
  "secretstores.aws.secretmanager",
  () => new SecretsManagerClient(moto.client),
  async (direct) => async (items) => {
    const store = await secrets.open(moto.options(secrets, items), componentHost());
    return secretCaller(store, async (Name, SecretString) => {
      await direct.send(new CreateSecretCommand({ Name, SecretString }));
    });
  },
);

function secretCaller(store: SecretStore, put: (name: string, value: string) => Promise<void>): Caller {
  return {
    async call(text) {
      const name = `net-${++count}`;
      await put(name, text);
      return (await store.get(name, {}))[name] ?? "";
    },
    close: () => store.close(),
  };
}

async function create(binding: Binding, text: string): Promise<void> {
  await binding.invoke?.({ operation: "create", metadata: {}, data: Buffer.from(text) });
}

/** Gives what `find` makes of a message that was in the queue. */
async function queueOf(direct: SQSClient, QueueName: string) {
  const { QueueUrl } = await direct.send(new CreateQueueCommand({ QueueName }));
  const bodies: string[] = [];
  const receive = new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 0 });
  return async (find: (body: string) => string | undefined): Promise<string> => {
    let found: string | undefined;
    const look = async (): Promise<boolean> => {
      found = bodies.map(find).find((text) => text !== undefined);
      if (found !== undefined) return true;
      const { Messages = [] } = await direct.send(receive);
      bodies.push(...Messages.map(({ Body = "" }) => Body));
      return false;
    };
    await until(look, "the message is in the queue", 10_000);
    return found ?? "";
  };
}
