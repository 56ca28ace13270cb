import type { AttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateStore,
} from "../../component/state-store.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";
import { type Change, changesOf } from "../clients/dynamodb-changes.ts";

type Sdk = typeof import("@aws-sdk/client-dynamodb");
type Item = Record<string, AttributeValue>;

export default component({
  type: "state.aws.dynamodb",
  version: "v1",
  status: "stable",
  summary: "A table of AWS DynamoDB, in Dapr's layout",
  package: "@aws-sdk/client-dynamodb",
  metadata: {
    ...awsFields,
    table: text({ description: "name of the table, which must be there", required: true }),
    ttlAttributeName: text({ description: "attribute of the time of expiry; without it nothing expires" }),
    partitionKey: text({ description: "attribute that is the table's key", default: "key" }),
  },
  async open(options, host): Promise<StateStore> {
    const { table, partitionKey, ttlAttributeName = "" } = options;
    const names = [partitionKey, "value", "etag", ttlAttributeName];
    if (new Set(names).size < names.length) {
      throw new Error(`partitionKey, ttlAttributeName, "value" and "etag" must be different names`);
    }
    const sdk = await import("@aws-sdk/client-dynamodb");
    const client = new sdk.DynamoDBClient(clientOptionsOf(options));
    const link = new AwsLink("dynamodb", client, options, host);
    const layout = { table, partitionKey, ttlAttributeName };
    const store = new DynamodbStateStore(sdk, link, { ...layout, edges: host.edges });
    try {
      await store.get({ key: "mecha-test-of-access", metadata: {} });
    } catch (error) {
      await store.close();
      const why = messageOf(error);
      throw new Error(`error validating DynamoDB table '${table}' access: ${why}`, { cause: error });
    }
    return store;
  },
});

interface Settings {
  table: string;
  partitionKey: string;
  /** Empty: nothing expires. */
  ttlAttributeName: string;
  edges: Edges;
}

/** The service's own limits. */
const keysPerRead = 100;
const operationsMax = 100;

class DynamodbStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature>;
  readonly operationsMax = operationsMax;
  readonly #sdk: Sdk;
  readonly #link: AwsLink<DynamoDBClient>;
  readonly #settings: Settings;

  constructor(sdk: Sdk, link: AwsLink<DynamoDBClient>, settings: Settings) {
    this.#sdk = sdk;
    this.#link = link;
    this.#settings = settings;
    const ttl: StateFeature[] = settings.ttlAttributeName === "" ? [] : ["TTL"];
    this.features = new Set<StateFeature>(["ETAG", "TRANSACTIONAL", ...ttl]);
  }

  async get({ key, consistency }: GetRequest): Promise<StateEntry | undefined> {
    const command = new this.#sdk.GetItemCommand({
      ...{ TableName: this.#settings.table, Key: this.#keyOf(key) },
      ConsistentRead: consistency !== "eventual",
    });
    const { Item } = await this.#link.ask((client, options) => client.send(command, options), {
      isRead: true,
    });
    return Item && this.#entryOf(Item);
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const keys = [...new Set(requests.map(({ key }) => key))];
    const isConsistent = requests.some(({ consistency }) => consistency !== "eventual");
    const entries: BulkEntry[] = [];
    for (let start = 0; start < keys.length; start += keysPerRead) {
      entries.push(...(await this.#readMany(keys.slice(start, start + keysPerRead), isConsistent)));
    }
    return entries;
  }

  set(request: SetRequest): Promise<void> {
    return this.#write([{ kind: "upsert", request }]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.#write([{ kind: "delete", request }]);
  }

  transact(operations: readonly StateOperation[]): Promise<void> {
    return this.#write(operations);
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  /** The service answers with as much as it likes, and says what is left. */
  async #readMany(keys: readonly string[], isConsistent: boolean): Promise<BulkEntry[]> {
    const { table, partitionKey } = this.#settings;
    const entries: BulkEntry[] = [];
    let left = keys.map((key) => this.#keyOf(key));
    for (let tries = 0; left.length > 0; tries++) {
      const command = new this.#sdk.BatchGetItemCommand({
        RequestItems: { [table]: { Keys: left, ConsistentRead: isConsistent } },
      });
      const reply = await this.#link.ask((client, options) => client.send(command, options), {
        isRead: true,
      });
      const found = reply.Responses?.[table] ?? [];
      for (const item of found) {
        const entry = this.#entryOf(item);
        if (entry) entries.push({ key: item[partitionKey]?.S ?? "", ...entry });
      }
      left = reply.UnprocessedKeys?.[table]?.Keys ?? [];
      if (left.length > 0 && found.length === 0) {
        if (tries >= emptyReadsMax) throw new Error(`dynamodb leaves ${left.length} keys unread`);
        await this.#link.pause(this.#link.pauseMs(tries));
      } else tries = 0;
    }
    return entries;
  }

  async #write(operations: readonly StateOperation[]): Promise<void> {
    const nowSeconds = Math.floor(this.#settings.edges.clock.now() / 1000);
    const changes = changesOf(operations).map((change) => this.#requestOf(change, nowSeconds));
    const [only] = changes;
    if (only === undefined) return;
    try {
      if (changes.length === 1) await this.#writeOne(only);
      else await this.#writeMany(changes);
    } catch (error) {
      throw isCondition(error) ? new EtagMismatch() : error;
    }
  }

  async #writeOne({ Put, Delete }: WriteItem): Promise<void> {
    await this.#link.ask(async (client, options) => {
      if (Put !== undefined) await client.send(new this.#sdk.PutItemCommand(Put), options);
      else if (Delete !== undefined) await client.send(new this.#sdk.DeleteItemCommand(Delete), options);
    });
  }

  async #writeMany(changes: WriteItem[]): Promise<void> {
    const { edges } = this.#settings;
    for (let tries = 0; ; tries++) {
      const command = new this.#sdk.TransactWriteItemsCommand({
        ...{ TransactItems: changes, ClientRequestToken: edges.random.uuid() },
      });
      try {
        await this.#link.ask((client, options) => client.send(command, options));
        return;
      } catch (error) {
        // Another transaction holds one of the keys: nothing was done.
        if (!isConflict(error) || tries >= conflictsMax) throw error;
        await this.#link.pause(this.#link.pauseMs(tries));
      }
    }
  }

  #requestOf({ key, condition, value, ttlSeconds }: Change, nowSeconds: number): WriteItem {
    const { table, partitionKey, ttlAttributeName, edges } = this.#settings;
    const rest = { TableName: table, ...this.#conditionOf(condition, nowSeconds) };
    if (value === undefined) return { Delete: { ...rest, Key: this.#keyOf(key) } };
    const etag = Buffer.from(edges.random.bytes(8)).toString("hex");
    const Item: Item = { [partitionKey]: { S: key }, value: { B: value }, etag: { S: etag } };
    if (ttlSeconds !== undefined) {
      if (ttlAttributeName === "") throw new Error("keys that expire need metadata field ttlAttributeName");
      // Never sooner than asked: the service counts whole seconds.
      Item[ttlAttributeName] = { N: String(Math.ceil(edges.clock.now() / 1000) + ttlSeconds) };
    }
    return { Put: { ...rest, Item } };
  }

  /** An item whose time is over may be there for days. */
  #conditionOf(condition: Change["condition"], nowSeconds: number): Condition {
    if (condition === undefined) return {};
    const { partitionKey, ttlAttributeName } = this.#settings;
    const expires = ttlAttributeName !== "";
    const isFirst = condition === "absent";
    const own = isFirst ? "attribute_not_exists(#key)" : "#etag = :etag";
    const time = isFirst ? " OR #ttl <= :now" : " AND (attribute_not_exists(#ttl) OR #ttl > :now)";
    const values: Item = {
      ...(!isFirst && { ":etag": { S: condition.etag } }),
      ...(expires && { ":now": { N: String(nowSeconds) } }),
    };
    return {
      ConditionExpression: expires ? own + time : own,
      ExpressionAttributeNames: {
        ...(isFirst ? { "#key": partitionKey } : { "#etag": "etag" }),
        ...(expires && { "#ttl": ttlAttributeName }),
      },
      ...(Object.keys(values).length > 0 && { ExpressionAttributeValues: values }),
    };
  }

  #keyOf(key: string): Item {
    return { [this.#settings.partitionKey]: { S: key } };
  }

  #entryOf(item: Item): StateEntry | undefined {
    const { ttlAttributeName, edges } = this.#settings;
    const seconds = ttlAttributeName === "" ? undefined : item[ttlAttributeName]?.N;
    const expiresAtMs = seconds === undefined ? undefined : Number(seconds) * 1000;
    if (expiresAtMs !== undefined && expiresAtMs <= edges.clock.now()) return undefined;
    // Older Daprs wrote texts.
    const value = item.value?.B ?? Buffer.from(item.value?.S ?? "");
    return { value, etag: item.etag?.S ?? "", expiresAtMs };
  }
}

const emptyReadsMax = 10;
const conflictsMax = 10;

interface Condition {
  ConditionExpression?: string;
  ExpressionAttributeNames?: Record<string, string>;
  ExpressionAttributeValues?: Item;
}

interface WriteItem {
  Put?: Condition & { TableName: string; Item: Item };
  Delete?: Condition & { TableName: string; Key: Item };
}

function reasonCodes(error: unknown): string[] {
  const { CancellationReasons = [] } = error as { CancellationReasons?: { Code?: string }[] };
  return CancellationReasons.map(({ Code = "" }) => Code);
}

function isCondition(error: unknown): boolean {
  const { name } = error as Error;
  return name === "ConditionalCheckFailedException" || reasonCodes(error).includes("ConditionalCheckFailed");
}

function isConflict(error: unknown): boolean {
  const codes = reasonCodes(error).filter((code) => code !== "None");
  return codes.length > 0 && codes.every((code) => code === "TransactionConflict");
}
