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

/** One turn of an instance, for a worker. */
export interface WorkflowTurn {
  instance: Instance;
  newEvents: readonly EncodedEvent[];
  completionToken: string;
  propagated?: Uint8Array | undefined;
}

/** `held`: so many events of the history the worker has; the rest is sent. */
export function workflowItem(turn: WorkflowTurn, held: number): RawWorkItem {
  const { instance, newEvents, completionToken, propagated } = turn;
  const { id, history, record } = instance;
  const request = new BinaryWriter();
  request.tag(1, WireType.LengthDelimited).string(id);
  request.tag(2, WireType.LengthDelimited).fork();
  request.tag(1, WireType.LengthDelimited).string(record.executionId).join();
  for (let index = held; index < history.length; index++) {
    request.tag(3, WireType.LengthDelimited).bytes(history[index] as Uint8Array);
  }
  for (const { bytes } of newEvents) request.tag(4, WireType.LengthDelimited).bytes(bytes);
  if (propagated !== undefined) request.tag(8, WireType.LengthDelimited).bytes(propagated);
  if (held > 0) request.tag(9, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int32(held).join();
  return item(workflowField, request.finish(), completionToken);
}

export function activityItem(request: Uint8Array, completionToken: string): RawWorkItem {
  return item(activityField, request, completionToken);
}

function item(no: number, request: Uint8Array, completionToken: string): RawWorkItem {
  const data = new BinaryWriter().bytes(request).finish();
  return { completionToken, $unknown: [{ no, wireType: WireType.LengthDelimited, data }] };
}
