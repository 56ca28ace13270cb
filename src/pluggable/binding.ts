import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Binding, BindingEvent, BindingReply, BindingRequest } from "../component/binding.ts";
import { messageOf } from "../kit/message-of.ts";
import * as wire from "../wire/dapr/proto/components/v1/components_pb.js";
import type { PluggedLink } from "./link.ts";
import { Pull } from "./pull.ts";

type EventHandler = (event: BindingEvent) => Promise<Uint8Array | undefined>;

const concurrencyMax = 100;

export async function openBinding(
  link: PluggedLink,
  { isInput, isOutput }: { isInput: boolean; isOutput: boolean },
): Promise<Binding> {
  const pulls: Pull[] = [];
  const output = isOutput ? await outputOf(link) : {};
  const read = async (handler: EventHandler): Promise<void> => {
    const pull = new Pull(link, {
      ...{ method: "InputBinding/Read", concurrencyMax },
      handle: (bytes) => handle(bytes, handler),
    });
    pulls.push(pull);
    await pull.open();
  };
  return {
    ...output,
    ...(isInput && { read }),
    async close() {
      await Promise.all(pulls.map((pull) => pull.close()));
      await link.close();
    },
  };
}

async function outputOf(link: PluggedLink): Promise<Pick<Binding, "operations" | "invoke">> {
  const { operations } = await link.call(
    {
      method: "OutputBinding/ListOperations",
      ...{ request: wire.EmptySchema, reply: wire.ListOperationsResponseSchema, isRead: true },
    },
    {},
  );
  return {
    operations,
    async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply> {
      const answer = await link.call(
        {
          method: "OutputBinding/Invoke",
          request: wire.InvokeRequestSchema,
          reply: wire.InvokeResponseSchema,
        },
        { operation, data, metadata },
      );
      const { contentType, ...rest } = answer;
      return { data: rest.data, metadata: rest.metadata, ...(contentType !== "" && { contentType }) };
    },
  };
}

async function handle(bytes: Uint8Array, handler: EventHandler): Promise<Uint8Array> {
  const { data, metadata, contentType, messageId } = fromBinary(wire.ReadResponseSchema, bytes);
  const answer = create(wire.ReadRequestSchema, { messageId });
  try {
    const reply = await handler({ data, metadata, ...(contentType !== "" && { contentType }) });
    if (reply !== undefined) answer.responseData = reply;
  } catch (error) {
    answer.responseError = create(wire.RefusalSchema, { message: messageOf(error) });
  }
  return toBinary(wire.ReadRequestSchema, answer);
}
