import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { EncodedEvent } from "./events.ts";
import type { Instance } from "./instance.ts";

/** Field numbers of WorkItem's requests. */
const workflowField = 1;
const activityField = 2;

/** A WorkItem whose request is encoded already; it travels as an unknown field, which the transport passes on. */
export interface RawWorkItem {
  completionToken: string;
  $unknown: { no: number; wireType: WireType; data: Uint8Array }[];
}

export function workflowItem(
  { id, history, record }: Pick<Instance, "id" | "history" | "record">,
  newEvents: readonly EncodedEvent[],
  completionToken: string,
  propagated?: Uint8Array,
): RawWorkItem {
  const request = new BinaryWriter();
  request.tag(1, WireType.LengthDelimited).string(id);
  request.tag(2, WireType.LengthDelimited).fork();
  request.tag(1, WireType.LengthDelimited).string(record.executionId).join();
  for (const event of history) request.tag(3, WireType.LengthDelimited).bytes(event);
  for (const { bytes } of newEvents) request.tag(4, WireType.LengthDelimited).bytes(bytes);
  if (propagated !== undefined) request.tag(8, WireType.LengthDelimited).bytes(propagated);
  return item(workflowField, request.finish(), completionToken);
}

export function activityItem(request: Uint8Array, completionToken: string): RawWorkItem {
  return item(activityField, request, completionToken);
}

function item(no: number, request: Uint8Array, completionToken: string): RawWorkItem {
  const data = new BinaryWriter().bytes(request).finish();
  return { completionToken, $unknown: [{ no, wireType: WireType.LengthDelimited, data }] };
}
