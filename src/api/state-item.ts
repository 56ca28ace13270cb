import {
  type Concurrency,
  type Consistency,
  type DeleteRequest,
  EtagInvalid,
  EtagMismatch,
  type SetRequest,
} from "../component/state-store.ts";
import { Code, Fault, type FaultOptions } from "../errors.ts";
import type { StateItem } from "../wire/dapr/proto/common/v1/common_pb.js";
import type { Fields } from "./operation.ts";
import { fullKey, type StateTarget } from "./state-target.ts";

export type Item = Fields<StateItem>;
export type ItemOptions = Item["options"];

/** By the numbers of StateOptions.StateConcurrency and StateConsistency. */
const concurrencies: readonly Concurrency[] = [undefined, "first-write", "last-write"];
const consistencies: readonly Consistency[] = [undefined, "eventual", "strong"];

export function consistencyOf(code: number | undefined): Consistency {
  return code === undefined ? undefined : consistencies[code];
}

/** What the store gets for a state item. Throws for a TTL that is no number. */
export function setRequestOf(target: StateTarget, item: Item, metadata: Record<string, string>): SetRequest {
  return {
    key: fullKey(target, item.key),
    value: target.cipher === undefined ? item.value : target.cipher.encrypt(item.value),
    // An empty etag means none: SDKs send the wrapper with an empty value.
    etag: item.etag?.value || undefined,
    concurrency: concurrencies[item.options?.concurrency ?? 0],
    consistency: consistencies[item.options?.consistency ?? 0],
    ttlSeconds: ttlSecondsOf(metadata.ttlInSeconds),
    contentType: metadata.contentType,
    metadata,
  };
}

export function deleteRequestOf(
  target: StateTarget,
  item: Pick<Item, "key" | "etag" | "options">,
  metadata: Record<string, string>,
): DeleteRequest {
  return {
    key: fullKey(target, item.key),
    etag: item.etag?.value || undefined,
    concurrency: concurrencies[item.options?.concurrency ?? 0],
    metadata,
  };
}

/** From `ttlInSeconds`; throws for what is no number. */
export function ttlSecondsOf(text: string | undefined): number | null | undefined {
  if (text === undefined || text === "") return undefined;
  const seconds = Number(text);
  const isWhole = /^[+-]?\d+$/.test(text) && seconds >= -1 && seconds <= 2 ** 31 - 1;
  if (!isWhole) throw new Error(`error parsing metadata 'ttlInSeconds': invalid value '${text}'`);
  // -1 takes an expiry away; stores of Dapr read 0 in the same way.
  return seconds <= 0 ? null : seconds;
}

/** Wraps a store's error into the fault of the operation unless it is one, with the statuses of etag errors (dapr-api.md §7.2). */
export function storeFault(error: unknown, make: (why: string, options: FaultOptions) => Fault): Fault {
  if (error instanceof Fault) return error;
  const why = error instanceof Error ? error.message : String(error);
  if (error instanceof EtagMismatch) return make(why, { cause: error, http: 409, grpc: Code.Aborted });
  if (error instanceof EtagInvalid) return make(why, { cause: error, http: 400, grpc: Code.InvalidArgument });
  return make(why, { cause: error });
}
