import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { GrpcError } from "../../src/net/grpc/types.ts";

type Field = [number: number, value: string | Field[]];

/** The details of a gRPC error, each as its message name and its fields in order. */
export function detailsOf(error: GrpcError): { type: string; fields: Field[] }[] {
  return error.details.map((bytes) => {
    const raw = rawFields(bytes);
    const typeUrl = raw.find(([number]) => number === 1)?.[1] ?? new Uint8Array(0);
    const value = raw.find(([number]) => number === 2)?.[1] ?? new Uint8Array(0);
    const type = Buffer.from(typeUrl).toString().replace("type.googleapis.com/google.rpc.", "");
    return { type, fields: fieldsOf(type, value) };
  });
}

/** Which fields of the details are messages themselves. */
const nested: Record<string, number[]> = { ErrorInfo: [3], BadRequest: [1], Help: [1], ResourceInfo: [] };

function fieldsOf(type: string, bytes: Uint8Array): Field[] {
  return rawFields(bytes).map(
    ([number, value]): Field =>
      nested[type]?.includes(number)
        ? [number, rawFields(value).map(([inner, text]): Field => [inner, Buffer.from(text).toString()])]
        : [number, Buffer.from(value).toString()],
  );
}

function rawFields(bytes: Uint8Array): [number, Uint8Array][] {
  const reader = new BinaryReader(bytes);
  const fields: [number, Uint8Array][] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) throw new Error(`field ${number} is no text`);
    fields.push([number, reader.bytes()]);
  }
  return fields;
}
