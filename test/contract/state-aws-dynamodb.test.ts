import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { EtagMismatch, type StateStore } from "../../src/component/state-store.ts";
import dynamodb from "../../src/components/state/aws.dynamodb.ts";
import { componentHost } from "./component-host.ts";
import { makeTable } from "./dynamodb.ts";
import { startMoto, type TestMoto } from "./moto.ts";
import { etagOf, put, rejection, stateContract, textAt } from "./state.ts";

let server: TestMoto;
let number = 0;
beforeAll(async () => {
  server = await startMoto();
}, 120_000);
afterAll(() => server.stop());

const open = (items: Record<string, string>): Promise<StateStore> =>
  dynamodb.open(server.options(dynamodb, items), componentHost());

stateContract(
  "state.aws.dynamodb",
  ["ETAG", "TRANSACTIONAL", "TTL"],
  async () => {
    const items = { table: `t${++number}`, ttlAttributeName: "expiresAt" };
    await makeTable(server, items.table);
    let store = await open(items);
    return {
      store,
      // The server forgets all when it ends.
      async reopen() {
        await store.close();
        store = await open(items);
        return store;
      },
      close: () => store.close(),
    };
  },
  // An item has 400 KB at most; moto counts the letters of its base64.
  { valueBytesMax: 300_000 },
);

describe("state.aws.dynamodb", () => {
  test("has Dapr's layout, and reads what older Daprs wrote", async () => {
    const client = new DynamoDBClient(server.client);
    await makeTable(server, "layout", "Contract");
    const store = await open({ table: "layout", partitionKey: "Contract", ttlAttributeName: "ttl" });
    await store.set(put("app||a", "one", { ttlSeconds: 100 }));
    const Key = { Contract: { S: "app||a" } };
    const { Item = {} } = await client.send(new GetItemCommand({ TableName: "layout", Key }));
    expect(Object.keys(Item).sort()).toEqual(["Contract", "etag", "ttl", "value"]);
    expect(Buffer.from(Item.value?.B ?? []).toString()).toBe("one");
    expect(Item.etag?.S).toBe(await etagOf(store, "app||a"));
    const old = { Contract: { S: "app||b" }, value: { S: "two" }, etag: { S: "7" } };
    await client.send(new PutItemCommand({ TableName: "layout", Item: old }));
    expect(await textAt(store, "app||b")).toBe("two");
    await store.set(put("app||b", "three", { etag: "7" }));
    client.destroy();
    await store.close();
  });

  test("knows the end of a transaction that writes a key twice", async () => {
    await makeTable(server, "twice");
    const store = await open({ table: "twice" });
    await store.set(put("key", "x"));
    const etag = await etagOf(store, "key");
    const first = { kind: "upsert" as const, request: put("key", "z", { concurrency: "first-write" }) };
    await store.transact?.([{ kind: "delete", request: { key: "key", etag, metadata: {} } }, first], {});
    expect(await textAt(store, "key")).toBe("z");
    const again = store.transact?.([{ kind: "upsert", request: put("key", "y") }, first], {});
    expect(await rejection(again ?? Promise.resolve())).toBeInstanceOf(EtagMismatch);
    expect(await textAt(store, "key")).toBe("z");
    await store.close();
  });

  test("reads more keys at once than one request takes, some of them twice", async () => {
    await makeTable(server, "many");
    const store = await open({ table: "many" });
    const keys = Array.from({ length: 130 }, (_, index) => `k${index}`);
    await Promise.all(keys.map((key) => store.set(put(key, key))));
    const found = await store.bulkGet?.([...keys, "k1"].map((key) => ({ key, metadata: {} })));
    expect(found?.map(({ key }) => key).sort()).toEqual(keys.sort());
    await store.close();
  });

  test("says what is wrong with its metadata", async () => {
    const said = async (items: Record<string, string>) =>
      String(await rejection(Promise.resolve().then(() => open(items))));
    expect(await said({})).toContain("table");
    expect(await said({ table: "none" })).toContain("error validating DynamoDB table 'none' access");
    expect(await said({ table: "t", secretKey: "" })).toContain("accessKey and secretKey need each other");
    expect(await said({ table: "t", partitionKey: "etag" })).toContain("partitionKey");
    expect(await said({ table: "t", assumeRoleArn: "arn" })).toContain("assumeRoleArn");
    expect(await said({ table: "t", endpoint: "http://127.0.0.1:1" })).toContain("ECONNREFUSED");
    await makeTable(server, "endless");
    const store = await open({ table: "endless" });
    expect(await said({ table: "t" })).toContain("'t' access");
    const limited = await rejection(store.set(put("key", "x", { ttlSeconds: 5 })));
    expect(String(limited)).toContain("ttlAttributeName");
    await store.close();
  });
});
