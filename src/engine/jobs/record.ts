/** google.protobuf.Any without its message class. */
export interface AnyData {
  typeUrl: string;
  value: Uint8Array;
}

const newline = 10;

/** A record of JSON-able fields with the payload's bytes behind them, untouched. */
export function encodeRecord(fields: object, data: AnyData | undefined): Uint8Array {
  const head = Buffer.from(`${JSON.stringify(data ? { ...fields, dataType: data.typeUrl } : fields)}\n`);
  return data ? Buffer.concat([head, data.value]) : head;
}

/** Throws what JSON.parse throws for bytes of something else. */
export function decodeRecord<T>(bytes: Uint8Array): { fields: T; data: AnyData | undefined } {
  const end = bytes.indexOf(newline);
  const { dataType, ...fields } = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString("utf8"));
  // A copy: the bytes of a claim share one buffer with all others of it.
  const data = dataType === undefined ? undefined : { typeUrl: dataType, value: bytes.slice(end + 1) };
  return { fields: fields as T, data };
}
