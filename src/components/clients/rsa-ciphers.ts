import { constants, type KeyObject, privateDecrypt, publicEncrypt } from "node:crypto";

const hashes: Readonly<Record<string, string>> = {
  "RSA-OAEP": "sha1",
  "RSA-OAEP-256": "sha256",
  "RSA-OAEP-384": "sha384",
  "RSA-OAEP-512": "sha512",
};

export const rsaAlgorithms: ReadonlySet<string> = new Set(["RSA1_5", ...Object.keys(hashes)]);

export function sealRsa(algorithm: string, plaintext: Uint8Array, key: KeyObject, label: Uint8Array): Buffer {
  return publicEncrypt({ key, ...paddingOf(algorithm, label) }, plaintext);
}

export function openRsa(
  algorithm: string,
  ciphertext: Uint8Array,
  key: KeyObject,
  label: Uint8Array,
): Buffer {
  if (algorithm !== "RSA1_5") return privateDecrypt({ key, ...paddingOf(algorithm, label) }, ciphertext);
  return withoutPadding(privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext));
}

function paddingOf(algorithm: string, label: Uint8Array) {
  if (algorithm === "RSA1_5") return { padding: constants.RSA_PKCS1_PADDING };
  const oaepHash = hashes[algorithm];
  if (oaepHash === undefined) throw new Error("unsupported algorithm");
  return {
    ...{ padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash },
    ...(label.length > 0 && { oaepLabel: Buffer.from(label) }),
  };
}

/** `00 02 PS 00 M` (RFC 8017 §7.2.2), looked through to its end whatever is in it: Bun refuses this padding. */
function withoutPadding(block: Buffer): Buffer {
  let separator = 0;
  for (let i = block.length - 1; i >= 2; i--) {
    const isZero = ((block[i] as number) - 1) >>> 31;
    separator = isZero * i + (1 - isZero) * separator;
  }
  const isGood = block[0] === 0 && block[1] === 2 && separator >= 10;
  if (!isGood) throw new Error("decryption error");
  return block.subarray(separator + 1);
}
