import type { Any } from "@bufbuild/protobuf/wkt";
import {
  type BulkEntry,
  type Concurrency,
  type Consistency,
  type DeleteRequest,
  type GetRequest,
  joinFailures,
  type KeyFailure,
  type QueryResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateQuery,
  type StateStore,
} from "../component/state-store.ts";
import { GrpcError, grpcCode } from "../net/grpc/index.ts";
import * as wire from "../wire/dapr/proto/components/v1/components_pb.js";
import { contract, type PluggedLink } from "./link.ts";

/** What the contract has calls for. */
const known: ReadonlySet<string> = new Set<StateFeature>([
  "ETAG",
  "TRANSACTIONAL",
  "QUERY_API",
  "TTL",
  "PARTITION_KEY",
]);
const atOnceMax = 16;

export async function openStateStore(link: PluggedLink, services: ReadonlySet<string>): Promise<StateStore> {
  const { features } = await link.call(
    {
      method: "StateStore/Features",
      request: wire.EmptySchema,
      reply: wire.FeaturesResponseSchema,
      isRead: true,
    },
    {},
  );
  const offered = new Set<StateFeature>(features.filter((one): one is StateFeature => known.has(one)));
  if (!services.has(`${contract}.TransactionalStateStore`)) offered.delete("TRANSACTIONAL");
  if (!services.has(`${contract}.QueriableStateStore`)) offered.delete("QUERY_API");
  const store = new PluggedState(link, offered);
  if (offered.has("TRANSACTIONAL") && services.has(`${contract}.TransactionalStoreMultiMaxSize`)) {
    await store.learnOperationsMax();
  }
  return store;
}

class PluggedState implements StateStore {
  readonly features: ReadonlySet<StateFeature>;
  operationsMax?: number;
  transact?: NonNullable<StateStore["transact"]>;
  query?: NonNullable<StateStore["query"]>;
  readonly #link: PluggedLink;

  constructor(link: PluggedLink, features: ReadonlySet<StateFeature>) {
    this.#link = link;
    this.features = features;
    if (features.has("TRANSACTIONAL"))
      this.transact = (operations, metadata) => this.#transact(operations, metadata);
    if (features.has("QUERY_API")) this.query = (query, metadata) => this.#query(query, metadata);
  }

  async learnOperationsMax(): Promise<void> {
    const method = "TransactionalStoreMultiMaxSize/MultiMaxSize";
    const reply = wire.MultiMaxSizeResponseSchema;
    const { maxSize } = await this.#link.call({ method, request: wire.EmptySchema, reply, isRead: true }, {});
    if (maxSize > 0n) this.operationsMax = Number(maxSize);
  }

  async get(request: GetRequest): Promise<StateEntry | undefined> {
    const answer = await this.#link.call(
      {
        ...{ method: "StateStore/Get", request: wire.GetRequestSchema, reply: wire.GetResponseSchema },
        isRead: true,
      },
      getMessage(request),
    );
    return entryOf(answer);
  }

  async set(request: SetRequest): Promise<void> {
    await this.#link.call(
      { method: "StateStore/Set", request: wire.SetRequestSchema, reply: wire.EmptySchema },
      setMessage(request),
    );
  }

  async delete(request: DeleteRequest): Promise<void> {
    const method = "StateStore/Delete";
    await this.#link.call(
      { method, request: wire.DeleteRequestSchema, reply: wire.EmptySchema },
      deleteMessage(request),
    );
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const call = {
      ...{
        method: "StateStore/BulkGet",
        request: wire.BulkGetRequestSchema,
        reply: wire.BulkGetResponseSchema,
      },
      isRead: true,
    } as const;
    const asked = { items: requests.map(getMessage), options: { parallelism: BigInt(atOnceMax) } };
    const answer = await optional(this.#link.call(call, asked));
    if (answer === undefined) return this.#getEach(requests);
    return answer.items.flatMap((item): BulkEntry[] => {
      if (item.error !== "") return [{ key: item.key, value: nothing, etag: "", error: item.error }];
      const entry = entryOf(item);
      return entry === undefined ? [] : [{ ...entry, key: item.key }];
    });
  }

  async bulkSet(requests: readonly SetRequest[]): Promise<void> {
    // The answer does not say which of them failed, so those that may be refused are asked one by one.
    if (requests.some(isConditional)) return each(requests, (one) => this.set(one));
    const call = {
      ...{ method: "StateStore/BulkSet", request: wire.BulkSetRequestSchema, reply: wire.EmptySchema },
    } as const;
    const answer = await optional(
      this.#link.call(call, { items: requests.map(setMessage), options: inParallel }),
    );
    if (answer === undefined) await each(requests, (one) => this.set(one));
  }

  async bulkDelete(requests: readonly DeleteRequest[]): Promise<void> {
    if (requests.some(isConditional)) return each(requests, (one) => this.delete(one));
    const call = {
      ...{ method: "StateStore/BulkDelete", request: wire.BulkDeleteRequestSchema, reply: wire.EmptySchema },
    } as const;
    const asked = { items: requests.map(deleteMessage), options: inParallel };
    const answer = await optional(this.#link.call(call, asked));
    if (answer === undefined) await each(requests, (one) => this.delete(one));
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #getEach(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const found: BulkEntry[] = [];
    await each(requests, async (request) => {
      const entry = await this.get(request);
      if (entry !== undefined) found.push({ ...entry, key: request.key });
    });
    return found;
  }

  async #transact(operations: readonly StateOperation[], metadata: Record<string, string>): Promise<void> {
    await this.#link.call(
      {
        method: "TransactionalStateStore/Transact",
        ...{ request: wire.TransactionalStateRequestSchema, reply: wire.EmptySchema },
      },
      { operations: operations.map((one) => ({ request: operationMessage(one) })), metadata },
    );
  }

  async #query(query: StateQuery, metadata: Record<string, string>): Promise<QueryResult> {
    const { results, token, metadata: told } = await this.#asked(query, metadata);
    const { keyPrefix = "" } = query;
    return { results: results.filter(({ key }) => key.startsWith(keyPrefix)), token, metadata: told };
  }

  async #asked(query: StateQuery, metadata: Record<string, string>): Promise<QueryResult> {
    const answer = await this.#link.call(
      {
        ...{
          method: "QueriableStateStore/Query",
          request: wire.QueryRequestSchema,
          reply: wire.QueryResponseSchema,
        },
        isRead: true,
      },
      { query: queryMessage(query), metadata },
    );
    const failed = answer.items.find((item) => item.error !== "");
    if (failed !== undefined) throw new Error(`${failed.key}: ${failed.error}`);
    const results = answer.items.map(({ key, data, etag }) => ({
      key,
      value: data,
      etag: etag?.value ?? "",
    }));
    return { results, token: answer.token, metadata: answer.metadata };
  }
}

const nothing = new Uint8Array(0);
const inParallel = { parallelism: BigInt(atOnceMax) };

function isConditional({ etag, concurrency }: SetRequest | DeleteRequest): boolean {
  return Boolean(etag) || concurrency === "first-write";
}

/** `undefined` when the component has no such call. */
async function optional<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof GrpcError && error.code === grpcCode.UNIMPLEMENTED) return undefined;
    throw error;
  }
}

/** Runs all, some at once; rejects with those that failed. */
async function each<R extends { key: string }>(
  requests: readonly R[],
  run: (request: R) => Promise<void>,
): Promise<void> {
  const failures: KeyFailure[] = [];
  const waiting = requests.values();
  const worker = async (): Promise<void> => {
    for (const request of waiting) {
      await run(request).catch((error: Error) => failures.push({ key: request.key, error }));
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, requests.length) }, worker));
  if (failures.length > 0) throw joinFailures(failures);
}

function entryOf(answer: wire.GetResponse | wire.BulkStateItem): StateEntry | undefined {
  const { data, etag, metadata, contentType } = answer;
  // Absent keys are answered by nothing at all.
  if (data.length === 0 && !etag?.value) return undefined;
  const expiresAtMs = Date.parse(metadata.ttlExpireTime ?? "");
  return {
    ...{ value: data, etag: etag?.value ?? "" },
    ...(Number.isNaN(expiresAtMs) ? {} : { expiresAtMs }),
    ...(contentType !== "" && { contentType }),
  };
}

function getMessage({ key, metadata, consistency }: GetRequest) {
  return { key, metadata, consistency: consistencyOf(consistency) };
}

function setMessage(request: SetRequest) {
  const { key, value, etag, metadata, contentType = "", ttlSeconds } = request;
  const ttl: Record<string, string> =
    ttlSeconds === undefined ? {} : { ttlInSeconds: String(ttlSeconds ?? -1) };
  return {
    ...{ key, value, contentType, metadata: { ...metadata, ...ttl } },
    ...(etag ? { etag: { value: etag } } : {}),
    options: {
      concurrency: concurrencyOf(request.concurrency),
      consistency: consistencyOf(request.consistency),
    },
  };
}

function deleteMessage({ key, etag, metadata, concurrency }: DeleteRequest) {
  const options = { concurrency: concurrencyOf(concurrency), consistency: 0 };
  return { key, metadata, options, ...(etag ? { etag: { value: etag } } : {}) };
}

function operationMessage(operation: StateOperation) {
  return operation.kind === "upsert"
    ? { case: "set" as const, value: setMessage(operation.request) }
    : { case: "delete" as const, value: deleteMessage(operation.request) };
}

function queryMessage({ filter, sort = [], page = {} }: StateQuery) {
  const encode = (value: unknown) =>
    ({ typeUrl: "", value: Buffer.from(JSON.stringify(value)) }) as Omit<Any, "$typeName">;
  const filters = Object.entries((filter ?? {}) as Record<string, unknown>);
  return {
    filter: Object.fromEntries(filters.map(([operator, value]) => [operator, encode(value)])),
    sort: sort.map(({ key, order }) => ({ key, order: order === "DESC" ? 1 : 0 })),
    pagination: { limit: BigInt(page.limit ?? 0), token: page.token ?? "" },
  };
}

function concurrencyOf(concurrency: Concurrency): number {
  if (concurrency === undefined) return 0;
  return concurrency === "first-write" ? 1 : 2;
}

function consistencyOf(consistency: Consistency): number {
  if (consistency === undefined) return 0;
  return consistency === "eventual" ? 1 : 2;
}
