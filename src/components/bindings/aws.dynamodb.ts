import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { Binding } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";

export default component({
  type: "bindings.aws.dynamodb",
  version: "v1",
  status: "alpha",
  summary: "Items of an AWS DynamoDB table, written from JSON objects",
  package: "@aws-sdk/client-dynamodb",
  metadata: { ...awsFields, table: text({ description: "name of the table", required: true }) },
  async open(options, host): Promise<Binding> {
    const { DynamoDBClient, PutItemCommand, DescribeTableCommand } = await import("@aws-sdk/client-dynamodb");
    const link = new AwsLink("dynamodb", new DynamoDBClient(clientOptionsOf(options)), options, host);
    return {
      operations: ["create"],
      async invoke({ operation, data }) {
        if (operation !== "create") throw new Error(`unsupported operation ${operation}`);
        const command = new PutItemCommand({ TableName: options.table, Item: itemOf(data) });
        await link.ask((client, more) => client.send(command, more));
        return undefined;
      },
      async ping() {
        const command = new DescribeTableCommand({ TableName: options.table });
        await link.ask((client, more) => client.send(command, more), { isRead: true });
      },
      close: () => link.close(),
    };
  },
});

function itemOf(data: Uint8Array): Record<string, AttributeValue> {
  const { M } = attributeOf(JSON.parse(Buffer.from(data).toString()));
  if (M === undefined) throw new Error("the data is no JSON object");
  return M;
}

function attributeOf(value: unknown): AttributeValue {
  if (value === null) return { NULL: true };
  if (typeof value === "string") return { S: value };
  if (typeof value === "number") return { N: String(value) };
  if (typeof value === "boolean") return { BOOL: value };
  if (Array.isArray(value)) return { L: value.map(attributeOf) };
  return {
    M: Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key, attributeOf(one)])),
  };
}
