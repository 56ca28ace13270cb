import type { KV, KvEntry } from "@nats-io/kv";
import { component } from "../../component/component.ts";
import { flag, number, text } from "../../component/fields.ts";
import {
  type DeleteRequest,
  EtagInvalid,
  EtagMismatch,
  type GetRequest,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateStore,
} from "../../component/state-store.ts";
import { NatsLink } from "../clients/nats.ts";
import { natsFields } from "../clients/nats-fields.ts";

export default component({
  type: "state.jetstream",
  version: "v1",
  status: "alpha",
  summary: "A key-value bucket of NATS JetStream, in Dapr's layout",
  package: "@nats-io/kv",
  metadata: {
    ...natsFields,
    bucket: text({ description: "name of the bucket", required: true }),
    createBucket: flag({ description: "make the bucket when there is none", default: false }),
    replicas: number({ description: "copies of a bucket that is made", min: 1, max: 5 }),
  },
  async open(options, host): Promise<StateStore> {
    const link = await NatsLink.open(options, host);
    try {
      return new JetstreamStateStore(link, await bucketOf(link, options));
    } catch (error) {
      await link.close();
      throw error;
    }
  },
});

async function bucketOf(
  link: NatsLink,
  { bucket, createBucket, replicas }: { bucket: string; createBucket: boolean; replicas: number | undefined },
): Promise<KV> {
  const { Kvm } = await import("@nats-io/kv");
  const buckets = new Kvm(link.jetstream);
  if (createBucket)
    return link.ask(() => buckets.create(bucket, { history: 1, ...(replicas && { replicas }) }));
  try {
    const opened = await link.ask(() => buckets.open(bucket));
    await link.ask(() => opened.status());
    return opened;
  } catch (error) {
    const hint = `make it (\`nats kv add ${bucket}\`), or set createBucket: "true"`;
    throw new Error(`there is no bucket ${JSON.stringify(bucket)} of NATS: ${hint}`, { cause: error });
  }
}

class JetstreamStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>(["ETAG"]);
  readonly #link: NatsLink;
  readonly #bucket: KV;

  constructor(link: NatsLink, bucket: KV) {
    this.#link = link;
    this.#bucket = bucket;
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const entry = await this.#find(key);
    return entry === undefined ? undefined : { value: entry.value, etag: String(entry.revision) };
  }

  async set({ key, value, etag, concurrency }: SetRequest): Promise<void> {
    const name = nameOf(key);
    if (etag) {
      const revision = revisionOf(etag);
      // A deletion has a revision too: what is gone has no etag that fits.
      await this.#write(() => this.#bucket.update(name, value, revision));
    } else if (concurrency === "first-write") await this.#write(() => this.#bucket.create(name, value));
    else await this.#write(() => this.#bucket.put(name, value));
  }

  async delete({ key, etag }: DeleteRequest): Promise<void> {
    const revision = etag ? revisionOf(etag) : undefined;
    const entry = await this.#find(key);
    if (entry === undefined) {
      // What is not there needs no mark that it is gone.
      if (revision !== undefined) throw new EtagMismatch();
      return;
    }
    const options = revision === undefined ? {} : { previousSeq: revision };
    await this.#write(() => this.#bucket.delete(nameOf(key), options));
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async #find(key: string): Promise<KvEntry | undefined> {
    const entry = await this.#link.read(() => this.#bucket.get(nameOf(key)));
    return entry === null || entry.operation !== "PUT" ? undefined : entry;
  }

  async #write(write: () => Promise<unknown>): Promise<void> {
    try {
      await this.#link.ask(write);
    } catch (error) {
      throw isOtherRevision(error) ? new EtagMismatch() : error;
    }
  }
}

const wrongLastSequence = 10_071;

function isOtherRevision(error: unknown): boolean {
  const { code, message } = error as { code?: number; message: string };
  return code === wrongLastSequence || /wrong last sequence/.test(message);
}

function revisionOf(etag: string): number {
  if (!/^\d{1,15}$/.test(etag)) throw new EtagInvalid();
  return Number(etag);
}

/**
 * The name of a key in the bucket: as in Dapr the first `||` is a dot. Everything that NATS does not take in a name is
 * `=` and the two hexadecimal digits of each of its bytes, and so is every later `||`, so that no two keys share a name.
 */
function nameOf(key: string): string {
  const at = key.indexOf("||");
  if (at < 0) return escaped(key);
  return `${escaped(key.slice(0, at)) || "=00"}.${escaped(key.slice(at + 2)) || "=00"}`;
}

function escaped(part: string): string {
  const isPlain = /^[A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+)*$/.test(part);
  if (isPlain) return part;
  return [...Buffer.from(part)]
    .map((byte) => {
      const letter = String.fromCharCode(byte);
      return /[A-Za-z0-9_/-]/.test(letter) ? letter : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}
