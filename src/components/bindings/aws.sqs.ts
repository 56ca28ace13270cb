import type { Message, SQSClient } from "@aws-sdk/client-sqs";
import type { Binding, BindingEvent, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";

type Sdk = typeof import("@aws-sdk/client-sqs");
type Handler = (event: BindingEvent) => Promise<Uint8Array | undefined>;

export default component({
  type: "bindings.aws.sqs",
  version: "v1",
  status: "alpha",
  summary: "Messages to and from a queue of AWS SQS, one at a time",
  package: "@aws-sdk/client-sqs",
  metadata: {
    ...awsFields,
    queueName: text({ description: "name of the queue, which must be there", required: true }),
  },
  async open(options, host): Promise<Binding> {
    const sdk = await import("@aws-sdk/client-sqs");
    const link = new AwsLink("sqs", new sdk.SQSClient(clientOptionsOf(options)), options, host);
    return new SqsBinding({ sdk, link, ...options, edges: host.edges, log: host.log });
  },
});

interface Parts {
  sdk: Sdk;
  link: AwsLink<SQSClient>;
  queueName: string;
  timeout: number;
  edges: Edges;
  log: Log;
}

const waitSeconds = 20;
/** Renewed while a message is at work; what failed comes again after it. */
const visibilitySeconds = 30;

class SqsBinding implements Binding {
  readonly operations = ["create"];
  readonly #parts: Parts;
  #running: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async invoke({ operation, data }: BindingRequest): Promise<undefined> {
    const { sdk, link } = this.#parts;
    if (operation !== "create") throw new Error(`unsupported operation ${operation}`);
    // The caller's bytes may change before they are sent.
    const MessageBody = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    const command = new sdk.SendMessageCommand({ QueueUrl: await this.#url(), MessageBody });
    await link.ask((client, options) => client.send(command, options));
  }

  async read(handler: Handler): Promise<void> {
    this.#running ??= this.#run(handler);
  }

  async ping(): Promise<void> {
    await this.#url();
  }

  async close(): Promise<void> {
    await this.#parts.link.close();
    await this.#running;
  }

  async #url(): Promise<string> {
    const { sdk, link, queueName } = this.#parts;
    const command = new sdk.GetQueueUrlCommand({ QueueName: queueName });
    const { QueueUrl = "" } = await link.ask((client, options) => client.send(command, options), {
      isRead: true,
    });
    return QueueUrl;
  }

  async #run(handler: Handler): Promise<void> {
    const { link, log, queueName } = this.#parts;
    for (let tries = 0; !link.isClosed; ) {
      try {
        const url = await this.#url();
        for (const message of await this.#receive(url)) await this.#handle(url, message, handler);
        tries = 0;
      } catch (error) {
        if (link.isClosed) return;
        if (tries === 0) log.warn({ error, queueName }, "messages can not be received; trying again");
        await link.pause(link.pauseMs(tries++));
      }
    }
  }

  async #receive(QueueUrl: string): Promise<Message[]> {
    const { sdk, link, timeout } = this.#parts;
    const command = new sdk.ReceiveMessageCommand({
      ...{ QueueUrl, MaxNumberOfMessages: 1 },
      ...{ WaitTimeSeconds: waitSeconds, VisibilityTimeout: visibilitySeconds },
    });
    const timeoutMs = waitSeconds * 1000 + timeout;
    const reply = await link.ask((client, options) => client.send(command, options), { timeoutMs });
    return reply.Messages ?? [];
  }

  /** Deleted only after its handler ended well. */
  async #handle(QueueUrl: string, { Body = "", ReceiptHandle }: Message, handler: Handler): Promise<void> {
    const { sdk, link, log } = this.#parts;
    const sign = this.#signsOfLife(QueueUrl, ReceiptHandle);
    try {
      await handler({ data: Buffer.from(Body), metadata: {} });
      const command = new sdk.DeleteMessageCommand({ QueueUrl, ReceiptHandle });
      await link.ask((client, options) => client.send(command, options), { isRead: true });
    } catch (error) {
      log.warn({ error }, "a message was not handled, or not deleted: it comes again");
    } finally {
      sign.cancel();
    }
  }

  #signsOfLife(QueueUrl: string, ReceiptHandle: string | undefined): { cancel(): void } {
    const { sdk, link, edges } = this.#parts;
    const VisibilityTimeout = visibilitySeconds;
    const command = new sdk.ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout });
    const say = (): void => {
      timer = edges.clock.setTimer(visibilitySeconds * 300, say);
      link.ask((client, options) => client.send(command, options), { isRead: true }).catch(() => undefined);
    };
    let timer = edges.clock.setTimer(visibilitySeconds * 300, say);
    return { cancel: () => timer.cancel() };
  }
}
