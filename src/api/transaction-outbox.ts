import { parseFlag } from "../component/fields.ts";
import type { StateOperation } from "../component/state-store.ts";
import { markerValue, type OutboxWrite } from "../engine/pubsub/outbox.ts";
import { errors } from "../errors.ts";
import type { Call } from "./call.ts";
import type { Item } from "./state-item.ts";

/** One operation of a transaction, as it was asked for. */
export interface AskedChange {
  change: StateOperation;
  item: Item;
  /** The operation's own and the transaction's. */
  metadata: Record<string, string>;
}

/**
 * The changes of a transaction without its projections, and with the markers of its events where the store has an outbox
 * (dapr-api.md §7.7): the events are on their way then, and follow when the markers are committed.
 */
export async function withOutbox(
  storeName: string,
  asked: readonly AskedChange[],
  call: Call,
): Promise<StateOperation[]> {
  const { app, span } = call;
  const changes = asked.map(({ change }) => change);
  const store = app.components.find("state", storeName);
  if (store === undefined || !app.pubsub.hasOutbox(store)) return changes;
  const projections = new Map<string, AskedChange>();
  const kept: AskedChange[] = [];
  for (const one of asked) {
    if (isProjection(one)) projections.set(one.item.key, one);
    else kept.push(one);
  }
  const writes = kept
    .filter(({ change }) => change.kind === "upsert")
    .map((one) => writeOf(projections.get(one.item.key) ?? one, one));
  try {
    const trace = { trace: span.context, baggage: call.header("baggage") };
    const markers = await app.pubsub.announce(store, writes, trace);
    return [...kept.map(({ change }) => change), ...markers.map(markerChange)];
  } catch (error) {
    throw errors.PUBLISH_OUTBOX((error as Error).message, { cause: error });
  }
}

function isProjection({ change, metadata }: AskedChange): boolean {
  return change.kind === "upsert" && parseFlag(metadata["outbox.projection"] ?? "");
}

/** The event says what a projection says, with the attributes that the operation gives it. */
function writeOf(shown: AskedChange, { metadata }: AskedChange): OutboxWrite {
  const contentType = shown.metadata.contentType ?? "";
  return { value: shown.item.value, contentType, metadata: { ...shown.metadata, ...metadata } };
}

function markerChange(key: string): StateOperation {
  return { kind: "upsert", request: { key, value: markerValue, metadata: {} } };
}
