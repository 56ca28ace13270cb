import { randomBytes } from "node:crypto";
import { ByteReader } from "./byte-reader.ts";
import { FileKey, fileKeyBytes, tagBytes } from "./file-key.ts";
import {
  type DataCipher,
  dataCiphers,
  type KeyWrapAlgorithm,
  keyWraps,
  type Manifest,
  macLine,
  noncePrefixBytes,
  readHeader,
  signedLines,
} from "./header.ts";

// Dapr's encryption scheme, `dapr.io/enc/v1` (https://github.com/dapr/kit/tree/main/schemes/enc/v1): a header with the
// wrapped key of the document, then segments that are encrypted one by one. One segment is in memory at a time.

const segmentBytes = 64 * 1024;
const segmentsMax = 2 ** 32;

export interface EncryptOptions {
  keyName: string;
  keyWrap: KeyWrapAlgorithm;
  cipher: DataCipher;
  /** Goes into the header as the key to decrypt with; empty: none is named. */
  decryptionKeyName: string;
  wrap(fileKey: Uint8Array, algorithm: KeyWrapAlgorithm, keyName: string): Promise<Uint8Array>;
}

/** The document in pieces. Throws before the first when the key can not be wrapped. */
export async function* encryptDocument(
  plaintext: AsyncIterable<Uint8Array>,
  options: EncryptOptions,
): AsyncGenerator<Uint8Array> {
  const key = randomBytes(fileKeyBytes);
  const manifest: Manifest = {
    keyName: options.decryptionKeyName,
    keyWrap: options.keyWrap,
    cipher: options.cipher,
    noncePrefix: randomBytes(noncePrefixBytes),
    wrappedKey: await options.wrap(key, options.keyWrap, options.keyName),
  };
  const fileKey = await FileKey.open(key, manifest.noncePrefix, manifest.cipher);
  const lines = signedLines(manifest);
  yield Buffer.concat([lines, macLine(lines, fileKey.macOf(lines))]);
  yield* segments(new ByteReader(plaintext), segmentBytes, (bytes, index, isLast) =>
    fileKey.seal(bytes, index, isLast),
  );
}

export interface DecryptOptions {
  /** Instead of the one that the header names; empty: that one. */
  keyName: string;
  unwrap(wrappedKey: Uint8Array, algorithm: KeyWrapAlgorithm, keyName: string): Promise<Uint8Array>;
}

/** The plaintext, a segment at a time, each given out only after it has proved to be genuine. */
export async function* decryptDocument(
  document: AsyncIterable<Uint8Array>,
  options: DecryptOptions,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(document);
  const { manifest, signed, mac } = await readHeader(reader);
  const keyName = options.keyName || manifest.keyName;
  if (keyName === "") {
    throw new Error("document's manifest does not contain a key name, and no key name was provided");
  }
  const key = await unwrapped(manifest, keyName, options);
  const fileKey = await FileKey.open(key.bytes, manifest.noncePrefix, manifest.cipher);
  if (!fileKey.isSigned(signed, mac) || !key.isGenuine) {
    throw new Error("failed to validate the document's signature", { cause: key.failure });
  }
  yield* segments(reader, segmentBytes + tagBytes, (bytes, index, isLast) =>
    fileKey.open(bytes, index, isLast),
  );
}

interface Unwrapped {
  bytes: Uint8Array;
  isGenuine: boolean;
  failure?: unknown;
}

/**
 * Whoever asks must not learn whether the key exists or the unwrapping failed, so the check of the header goes on with
 * another key. That one is drawn: with a known one, documents could be forged that pass.
 */
async function unwrapped(
  { wrappedKey, keyWrap }: Manifest,
  keyName: string,
  { unwrap }: DecryptOptions,
): Promise<Unwrapped> {
  const drawn = { bytes: randomBytes(fileKeyBytes), isGenuine: false };
  try {
    const bytes = await unwrap(wrappedKey, keyWrap, keyName);
    return bytes.length === fileKeyBytes ? { bytes, isGenuine: true } : drawn;
  } catch (failure) {
    return { ...drawn, failure };
  }
}

async function* segments(
  reader: ByteReader,
  size: number,
  change: (bytes: Uint8Array, index: number, isLast: boolean) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  let index = 0;
  for await (const { bytes, isLast } of reader.pieces(size)) {
    if (index === segmentsMax) throw new Error("input stream is too large");
    const out = change(bytes, index++, isLast);
    if (out.length > 0) yield out;
  }
}

/** By its name in any case, or a shorter name; throws for others. */
export function keyWrapOf(name: string): KeyWrapAlgorithm {
  const upper = name.toUpperCase();
  const full = { AES: "A256KW", RSA: "RSA-OAEP-256" }[upper] ?? upper;
  const found = keyWraps.find((one) => one !== "" && one === full);
  if (found === undefined)
    throw new Error(`option Algorithm is not valid: algorithm ${upper} is not supported`);
  return found as KeyWrapAlgorithm;
}

/** Empty: AES-GCM. */
export function dataCipherOf(name: string): DataCipher {
  const upper = name.toUpperCase() || "AES-GCM";
  const found = dataCiphers.find((one) => one !== "" && one === upper);
  if (found === undefined) throw new Error(`option Cipher is not valid: cipher ${upper} is not supported`);
  return found as DataCipher;
}
