import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { TestMoto } from "./moto.ts";

/** Makes a table with one key. */
export async function makeTable({ client }: TestMoto, table: string, key = "key"): Promise<void> {
  const dynamodb = new DynamoDBClient(client);
  await dynamodb.send(
    new CreateTableCommand({
      TableName: table,
      KeySchema: [{ AttributeName: key, KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: key, AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  dynamodb.destroy();
}
