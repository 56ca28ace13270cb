import { extname, join, resolve } from "node:path";
import { component } from "../../component/component.ts";
import type { CryptoProvider } from "../../component/crypto-provider.ts";
import { text } from "../../component/fields.ts";
import type { Files } from "../../edges/files.ts";
import { keyOfBytes, keyOfJwk, keyOfPem, type LocalKey, parseJwk } from "../clients/crypto-key.ts";
import { type KeySource, LocalCrypto } from "../clients/local-crypto.ts";

export default component({
  type: "crypto.dapr.localstorage",
  version: "v1",
  status: "stable",
  summary: "Keys in the files of a folder: PEM, JSON Web Keys, or symmetric keys as they are",
  package: "@noble/curves",
  metadata: {
    path: text({ description: "the folder; a file in it is a key of the file's name", required: true }),
  },
  async open({ path }, { edges }): Promise<CryptoProvider> {
    const folder = resolve(path);
    const kind = await edges.files.kind(folder).catch((error: Error) => {
      throw new Error(`path ${JSON.stringify(path)} can not be read: ${error.message}`, { cause: error });
    });
    if (kind !== "folder") throw new Error(`path ${JSON.stringify(path)} is not a directory`);
    return new LocalCrypto(new KeyFolder(folder, edges.files));
  },
});

const fileBytesMax = 64 * 1024;
const keptMax = 500;

interface Kept {
  bytes: Uint8Array;
  key: LocalKey;
}

/** The file is read for each use, so that a key can be exchanged at any time; it is parsed again when it has changed. */
class KeyFolder implements KeySource {
  readonly #folder: string;
  readonly #files: Files;
  readonly #kept = new Map<string, Kept>();

  constructor(folder: string, files: Files) {
    this.#folder = folder;
    this.#files = files;
  }

  async find(name: string): Promise<LocalKey> {
    if (name.includes("..")) throw new Error("invalid key path: cannot contain '..'");
    if (name === "" || name.includes("\0") || name.includes("\\")) throw new Error("invalid key path");
    const path = join(this.#folder, name);
    const bytes = await this.#read(path, name);
    const kept = this.#kept.get(name);
    this.#kept.delete(name);
    const key = kept !== undefined && Buffer.compare(kept.bytes, bytes) === 0 ? kept.key : parse(bytes, path);
    this.#kept.set(name, { bytes, key });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest);
    return key;
  }

  async close(): Promise<void> {
    this.#kept.clear();
  }

  async #read(path: string, name: string): Promise<Uint8Array> {
    try {
      const bytes = await this.#files.read(path);
      if (bytes.length <= fileBytesMax) return bytes;
    } catch (error) {
      this.#kept.delete(name);
      // Without the path: it is nothing that callers need to know.
      const code = (error as NodeJS.ErrnoException).code;
      throw new Error(code === "ENOENT" ? "key not found" : `the key can not be read (${code})`, {
        cause: error,
      });
    }
    throw new Error(`a key has at most ${fileBytesMax} bytes`);
  }
}

function parse(bytes: Uint8Array, path: string): LocalKey {
  try {
    const ending = extname(path).toLowerCase();
    if (ending === ".json") return keyOfJwk(parseJwk(bytes));
    return ending === ".pem" ? keyOfPem(Buffer.from(bytes).toString("latin1")) : keyOfBytes(bytes);
  } catch (error) {
    throw new Error(`failed to parse key: ${(error as Error).message}`, { cause: error });
  }
}
