import { messageOf } from "../../kit/message-of.ts";

export interface BulkItem {
  key: string;
  data?: string;
  contentType?: string;
}

interface Bulk {
  items: BulkItem[];
  concurrency: number;
}

const concurrencyDefault = 10;
const concurrencyMax = 64;

/** What a bulk operation of Dapr's S3 binding is asked: `{"items": [{"key": "a"}], "concurrency": 10}`. */
export function bulkItemsOf(data: Uint8Array, operation: string): Bulk {
  const asked: unknown = JSON.parse(Buffer.from(data).toString());
  const { items, concurrency = concurrencyDefault } = Object(asked) as Record<string, unknown>;
  if (!Array.isArray(items) || items.length === 0) throw new Error(`${operation} requires at least one item`);
  if (!Number.isInteger(concurrency) || (concurrency as number) <= 0)
    throw new Error(`concurrency must be greater than 0, got ${JSON.stringify(concurrency)}`);
  return {
    items: items.map((item) => Object(item) as BulkItem),
    concurrency: Math.min(concurrency as number, concurrencyMax),
  };
}

/** In the order of the items; what fails is said in its place. */
export async function forEachItem(
  { items, concurrency }: Bulk,
  work: (item: BulkItem) => Promise<object>,
): Promise<object[]> {
  const results: object[] = [];
  let next = 0;
  const run = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index] as BulkItem;
      results[index] = { key: String(item.key ?? ""), ...(await resultOf(item, work)) };
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, run));
  return results;
}

async function resultOf(item: BulkItem, work: (item: BulkItem) => Promise<object>): Promise<object> {
  try {
    if (typeof item.key !== "string" || item.key === "") throw new Error("key is required");
    if ("filePath" in item) throw new Error("filePath: mecha does not read or write files for a request");
    return await work(item);
  } catch (error) {
    return { error: messageOf(error) };
  }
}
