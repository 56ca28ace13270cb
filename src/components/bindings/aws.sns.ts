import type { Binding } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";

export default component({
  type: "bindings.aws.sns",
  version: "v1",
  status: "alpha",
  summary: "Messages to a topic of AWS SNS",
  package: "@aws-sdk/client-sns",
  metadata: { ...awsFields, topicArn: text({ description: "the topic's ARN", required: true }) },
  async open(options, host): Promise<Binding> {
    const { SNSClient, PublishCommand, GetTopicAttributesCommand } = await import("@aws-sdk/client-sns");
    const link = new AwsLink("sns", new SNSClient(clientOptionsOf(options)), options, host);
    return {
      operations: ["create"],
      async invoke({ operation, data }) {
        if (operation !== "create") throw new Error(`unsupported operation ${operation}`);
        const command = new PublishCommand({ TopicArn: options.topicArn, ...messageIn(data) });
        await link.ask((client, more) => client.send(command, more));
        return undefined;
      },
      async ping() {
        const command = new GetTopicAttributesCommand({ TopicArn: options.topicArn });
        await link.ask((client, more) => client.send(command, more), { isRead: true });
      },
      close: () => link.close(),
    };
  },
});

function messageIn(data: Uint8Array): { Message: string; Subject?: string } {
  const { message, subject } = Object(JSON.parse(Buffer.from(data).toString())) as Record<string, unknown>;
  if (message === undefined || message === null) throw new Error("the data has no message");
  return { Message: asText(message), ...(subject != null && { Subject: asText(subject) }) };
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
