import type { ByteReader } from "./byte-reader.ts";

/** The first line of every document (github.com/dapr/kit, schemes/enc/v1). */
export const schemeName = "dapr.io/enc/v1";

/** How the file key can be wrapped; the place in the list is the number in the manifest. */
export const keyWraps = [
  "",
  "A256KW",
  "A128CBC-NOPAD",
  "A192CBC-NOPAD",
  "A256CBC-NOPAD",
  "RSA-OAEP-256",
] as const;
export const dataCiphers = ["", "AES-GCM", "CHACHA20-POLY1305"] as const;

export type KeyWrapAlgorithm = Exclude<(typeof keyWraps)[number], "">;
export type DataCipher = Exclude<(typeof dataCiphers)[number], "">;

export interface Manifest {
  /** Of the key that unwraps the file key; empty: not said. */
  keyName: string;
  keyWrap: KeyWrapAlgorithm;
  wrappedKey: Uint8Array;
  cipher: DataCipher;
  noncePrefix: Uint8Array;
}

/** Of the whole header. */
const headerBytesMax = 64 * 1024;
export const noncePrefixBytes = 7;

/** The two lines that the MAC is over. */
export function signedLines({ keyName, keyWrap, wrappedKey, cipher, noncePrefix }: Manifest): Buffer {
  const json = JSON.stringify({
    ...(keyName !== "" && { k: keyName }),
    kw: keyWraps.indexOf(keyWrap),
    wfk: Buffer.from(wrappedKey).toString("base64"),
    cph: dataCiphers.indexOf(cipher),
    np: Buffer.from(noncePrefix).toString("base64"),
  });
  return Buffer.from(`${schemeName}\n${asGoWrites(json)}\n`);
}

/** The third line. */
export function macLine(lines: Uint8Array, mac: Uint8Array): Buffer {
  const line = Buffer.from(`${Buffer.from(mac).toString("base64")}\n`);
  if (lines.length + line.length > headerBytesMax) throw new Error("header is too long");
  return line;
}

export interface ReadHeader {
  manifest: Manifest;
  signed: Uint8Array;
  mac: Uint8Array;
}

export async function readHeader(reader: ByteReader): Promise<ReadHeader> {
  const scheme = await reader.line(schemeName.length);
  if (scheme === undefined || Buffer.from(scheme).toString("latin1") !== schemeName)
    throw new Error("invalid header: unsupported scheme");
  const manifest = await reader.line(headerBytesMax);
  if (manifest === undefined || manifest.length === 0) throw new Error("invalid header: manifest not found");
  const signed = Buffer.from(`${schemeName}\n${Buffer.from(manifest).toString("latin1")}\n`, "latin1");
  const text = await reader.line(headerBytesMax - signed.length);
  const mac = text && fromBase64(Buffer.from(text).toString("latin1"));
  if (!mac) throw new Error("invalid header: message authentication code not found");
  return { manifest: parseManifest(manifest), signed, mac };
}

function parseManifest(line: Uint8Array): Manifest {
  let fields: Record<string, unknown> = {};
  try {
    fields = JSON.parse(Buffer.from(line).toString("utf8")) as Record<string, unknown>;
  } catch {
    // Said below, without what is wrong: nothing of it can be believed yet.
  }
  const { k: keyName = "", kw, wfk, cph, np } = fields ?? {};
  const keyWrap = keyWraps[Number(kw)];
  const cipher = dataCiphers[Number(cph)];
  const wrappedKey = fromBase64(wfk);
  const noncePrefix = fromBase64(np);
  const isGood =
    typeof keyName === "string" && noncePrefix?.length === noncePrefixBytes && wrappedKey?.length;
  if (!isGood || !keyWrap || !cipher) throw new Error("invalid header: invalid manifest");
  return { keyName, keyWrap, wrappedKey, cipher, noncePrefix };
}

/** Standard base64 with its padding, and no second spelling of the same bytes. */
function fromBase64(encoded: unknown): Uint8Array | undefined {
  if (typeof encoded !== "string" || encoded === "") return undefined;
  const bytes = Buffer.from(encoded, "base64");
  return bytes.toString("base64") === encoded ? bytes : undefined;
}

/** encoding/json escapes what HTML could take for its own. */
function asGoWrites(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
