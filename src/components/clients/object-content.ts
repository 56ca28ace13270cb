/** What an object store is to keep: a JSON text is its value, as it comes over HTTP; base64 is what it stands for. */
export function objectContent(data: Uint8Array, isBase64: boolean): Buffer {
  let bytes = Buffer.from(data);
  if (bytes[0] === 0x22) {
    try {
      bytes = Buffer.from(JSON.parse(bytes.toString()) as string);
    } catch {
      // It only begins like one.
    }
  }
  if (!isBase64) return bytes;
  const encoded = bytes.toString("latin1");
  if (encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded))
    throw new Error("the data is no base64");
  return Buffer.from(encoded, "base64");
}
