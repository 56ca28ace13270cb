import { component } from "../../component/component.ts";
import type { CryptoProvider } from "../../component/crypto-provider.ts";
import { duration, text } from "../../component/fields.ts";
import type { Clock } from "../../edges/clock.ts";
import type { Files } from "../../edges/files.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { keyOfJwk, type LocalKey } from "../clients/crypto-key.ts";
import { fetchJson } from "../clients/fetch-json.ts";
import { type KeySource, LocalCrypto } from "../clients/local-crypto.ts";
import { Renewed } from "../clients/renewed.ts";

const refreshDefaultMs = 10 * 60_000;

export default component({
  type: "crypto.dapr.jwks",
  version: "v1",
  status: "stable",
  summary: "A set of JSON Web Keys: as it is, in a file, or at a URL; a key is named by its kid",
  package: "@noble/curves",
  metadata: {
    jwks: text({
      description: "the set as JSON, plain or in base64; or its URL; or the path of its file",
      required: true,
      sensitive: true,
    }),
    requestTimeout: duration({ description: "longest wait for the URL", default: 30_000, min: 1 }),
    minRefreshInterval: duration({
      description: "the URL is asked again at most so often",
      default: refreshDefaultMs,
      min: 1,
    }),
  },
  async open({ jwks, requestTimeout, minRefreshInterval }, { edges, log }): Promise<CryptoProvider> {
    const keys = await sourceOf(jwks.trim(), edges.files, {
      ...{ clock: edges.clock, log, timeoutMs: requestTimeout, freshMs: minRefreshInterval },
    });
    return new LocalCrypto(keys);
  },
});

const keysMax = 10_000;

async function sourceOf(jwks: string, files: Files, options: RemoteOptions): Promise<KeySource> {
  if (/^https?:\/\//i.test(jwks)) return remoteKeys(jwks, options);
  const inline = jwks.startsWith("{") ? jwks : fromBase64(jwks);
  if (inline !== undefined) {
    const keys = parse(inline, "jwks");
    return { find: async (name) => found(keys, name), close: async () => {} };
  }
  const file = new KeyFile(jwks, files);
  await file.read();
  return file;
}

/** The JSON that the text is the base64 of, if it is. */
function fromBase64(encoded: string): string | undefined {
  if (!/^[A-Za-z0-9+/]+=*$/.test(encoded)) return undefined;
  const decoded = Buffer.from(encoded, "base64").toString("utf8");
  return decoded.trimStart().startsWith("{") ? decoded : undefined;
}

type Keys = ReadonlyMap<string, Record<string, unknown>>;

/** Throws without a word of what is in it: there may be secrets. */
function parse(json: string, what: string): Keys {
  let set: unknown;
  try {
    set = JSON.parse(json);
  } catch {
    throw new Error(`${what} is neither a URL nor a readable file nor JSON`);
  }
  return keysOf(set, what);
}

function keysOf(set: unknown, what: string): Keys {
  const list = (set as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(list)) throw new Error(`${what} holds no set of keys: it has to be {"keys": […]}`);
  if (list.length > keysMax) throw new Error(`${what} holds more than ${keysMax} keys`);
  const named = new Map<string, Record<string, unknown>>();
  // Of two of a name the first counts.
  for (const key of list.toReversed()) if (typeof key?.kid === "string") named.set(key.kid, key);
  return named;
}

const parsed = new WeakMap<object, LocalKey>();

function found(keys: Keys, name: string): LocalKey {
  const jwk = keys.get(name);
  if (jwk === undefined) throw new Error("key not found");
  let key = parsed.get(jwk);
  if (key === undefined) {
    key = keyOfJwk(jwk);
    parsed.set(jwk, key);
  }
  return key;
}

/** Looked at for each use, read anew when it has changed. */
class KeyFile implements KeySource {
  readonly #path: string;
  readonly #files: Files;
  #bytes: Uint8Array = new Uint8Array(0);
  #keys: Keys = new Map();

  constructor(path: string, files: Files) {
    this.#path = path;
    this.#files = files;
  }

  async find(name: string): Promise<LocalKey> {
    // Half a file while somebody writes it: the keys of before stay.
    await this.read().catch(() => {});
    return found(this.#keys, name);
  }

  async read(): Promise<void> {
    const bytes = await this.#files.read(this.#path).catch((error: NodeJS.ErrnoException) => {
      throw new Error(`jwks is neither JSON nor a URL nor a file that can be read (${error.code})`);
    });
    if (Buffer.compare(bytes, this.#bytes) === 0) return;
    this.#keys = parse(Buffer.from(bytes).toString("utf8"), "the file of jwks");
    this.#bytes = bytes;
  }

  async close(): Promise<void> {}
}

interface RemoteOptions {
  clock: Clock;
  log: Log;
  timeoutMs: number;
  freshMs: number;
}

/** A name that is not known is asked for again at most this often. */
const pauseMaxMs = 10_000;

async function remoteKeys(url: string, options: RemoteOptions): Promise<KeySource> {
  const { clock, log, timeoutMs, freshMs } = options;
  const keys = await Renewed.open({
    ...{ name: "the set of keys", clock, log, freshMs, pauseMs: Math.min(pauseMaxMs, freshMs) },
    load: async () => keysOf(await fetchJson(url, { timeoutMs, clock }), url),
  });
  return {
    find: async (name) => found(await keys.get((known) => known.has(name)), name),
    close: async () => {},
  };
}
