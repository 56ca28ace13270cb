import type { Readable } from "node:stream";
import type { PutObjectCommandInput, S3Client, StorageClass } from "@aws-sdk/client-s3";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { flag, type Options, parseFlag, text } from "../../component/fields.ts";
import type { Edges } from "../../edges/edges.ts";
import { parseDuration } from "../../kit/duration.ts";
import { messageOf } from "../../kit/message-of.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { type BulkItem, bulkItemsOf, forEachItem } from "../clients/aws-bulk.ts";
import { awsFields } from "../clients/aws-fields.ts";
import { objectContent } from "../clients/object-content.ts";

const noFiles = "mecha does not read or write files for a request: the data goes with it";
const fields = {
  ...awsFields,
  bucket: text({ description: "the bucket, which must be there", required: true }),
  forcePathStyle: flag({ description: "the bucket stands in the path, not in the host", default: false }),
  decodeBase64: flag({ description: "what create gets is base64 of the object", default: false }),
  encodeBase64: flag({ description: "what get gives is base64 of the object", default: false }),
  disableSSL: flag({ description: "an endpoint without a scheme is http", default: false }),
  insecureSSL: flag({ description: "any certificate of the endpoint is taken", default: false }),
  presignTTL: text({ description: "create answers with an address that reads the object for so long" }),
  storageClass: text({ description: "of what create writes, such as STANDARD_IA" }),
  filePath: text({ description: "a file to upload", missing: noFiles }),
};

export default component({
  type: "bindings.aws.s3",
  version: "v1",
  status: "stable",
  summary: "Objects of a bucket of AWS S3, or of another server that speaks it",
  package: "@aws-sdk/client-s3",
  metadata: fields,
  async open(options, host): Promise<Binding> {
    const { S3Client } = await import("@aws-sdk/client-s3");
    const settings = { ...options, endpoint: endpointOf(options) };
    const { requestHandler, ...client } = clientOptionsOf(settings);
    const https = { ...requestHandler.httpsAgent, rejectUnauthorized: !options.insecureSSL };
    const s3 = new S3Client({
      ...client,
      requestHandler: { ...requestHandler, httpsAgent: https },
      forcePathStyle: options.forcePathStyle,
    });
    return new S3Binding(new AwsLink("s3", s3, settings, host), settings, host.edges);
  },
});

type Settings = Options<typeof fields>;

function endpointOf({ endpoint, disableSSL }: Settings): string | undefined {
  if (!endpoint || /^https?:\/\//.test(endpoint)) return endpoint;
  return `${disableSSL ? "http" : "https"}://${endpoint}`;
}

const objectBytesMax = 256 << 20;
const pageDefault = 1_000;
/** Of one request to S3. */
const deletesMax = 1_000;
const presignMaxMs = 7 * 24 * 3_600_000;

class S3Binding implements Binding {
  readonly operations = [
    ...["create", "get", "delete", "list", "presign"],
    ...["bulkGet", "bulkCreate", "bulkDelete"],
  ];
  readonly #link: AwsLink<S3Client>;
  readonly #settings: Settings;
  readonly #edges: Edges;

  constructor(link: AwsLink<S3Client>, settings: Settings, edges: Edges) {
    this.#link = link;
    this.#settings = settings;
    this.#edges = edges;
  }

  async invoke(request: BindingRequest): Promise<BindingReply | undefined> {
    const { operation, data, metadata } = request;
    if (metadata.filePath) throw new Error(`filePath: ${noFiles}`);
    switch (operation) {
      case "create":
        return this.#create(request);
      case "get":
        return { data: await this.#get(keyIn(metadata), metadata) };
      case "delete":
        return this.#delete(keyIn(metadata));
      case "list":
        return this.#list(data);
      case "presign":
        return answer({ presignURL: await this.#signedUrl(keyIn(metadata), metadata, true) });
      case "bulkGet":
        return this.#bulkGet(request);
      case "bulkCreate":
        return this.#bulkCreate(request);
      case "bulkDelete":
        return this.#bulkDelete(data);
      default:
        throw new Error(`unsupported operation ${operation}`);
    }
  }

  async ping(): Promise<void> {
    const { HeadBucketCommand } = await import("@aws-sdk/client-s3");
    const command = new HeadBucketCommand({ Bucket: this.#settings.bucket });
    await this.#link.ask((client, more) => client.send(command, more), { isRead: true });
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #create({ data, metadata }: BindingRequest): Promise<BindingReply> {
    const key = metadata.key || this.#edges.random.uuid();
    // Before anything is written: what can not be signed leaves no object behind.
    const presignURL = await this.#signedUrl(key, metadata, false);
    const contentType = metadata["Content-Type"]?.trim();
    const storageClass = metadata.storageClass || this.#settings.storageClass;
    const { VersionId } = await this.#put({
      ...{ Key: key, Body: objectContent(data, this.#flag(metadata, "decodeBase64")) },
      ...(contentType && { ContentType: contentType }),
      ...(storageClass && { StorageClass: storageClass as StorageClass }),
      ...(metadata.tags !== undefined && { Tagging: tagsOf(metadata.tags) }),
    });
    const reply = { location: await this.#location(key), versionID: VersionId ?? null };
    return { ...answer({ ...reply, ...(presignURL && { presignURL }) }), metadata: { key } };
  }

  async #put(input: Omit<PutObjectCommandInput, "Bucket">): Promise<{ VersionId?: string | undefined }> {
    const { PutObjectCommand } = await import("@aws-sdk/client-s3");
    const command = new PutObjectCommand({ Bucket: this.#settings.bucket, ...input });
    return this.#link.ask((client, more) => client.send(command, more));
  }

  async #get(key: string, metadata: Record<string, string>): Promise<Uint8Array> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    const input = { Bucket: this.#settings.bucket, Key: key };
    const read = async (client: S3Client, more: { abortSignal: AbortSignal }): Promise<Uint8Array> => {
      const { Body, ContentLength: size } = await client.send(new GetObjectCommand(input), more);
      return Body === undefined ? new Uint8Array() : await bytesOf(Body as Readable, size);
    };
    const bytes = await this.#link.ask(read, { isRead: true }).catch((error: Error) => {
      throw error.name === "NoSuchKey" ? new Error("object not found", { cause: error }) : error;
    });
    return this.#flag(metadata, "encodeBase64") ? Buffer.from(Buffer.from(bytes).toString("base64")) : bytes;
  }

  async #delete(key: string): Promise<undefined> {
    const { DeleteObjectCommand } = await import("@aws-sdk/client-s3");
    const command = new DeleteObjectCommand({ Bucket: this.#settings.bucket, Key: key });
    await this.#link.ask((client, more) => client.send(command, more));
  }

  async #list(data: Uint8Array): Promise<BindingReply> {
    const { ListObjectsCommand } = await import("@aws-sdk/client-s3");
    const command = new ListObjectsCommand({ Bucket: this.#settings.bucket, ...listingOf(data) });
    const { $metadata, ...page } = await this.#link.ask((client, more) => client.send(command, more), {
      isRead: true,
    });
    return answer({ Contents: [], CommonPrefixes: [], ...page });
  }

  async #bulkGet({ data, metadata }: BindingRequest): Promise<BindingReply> {
    const results = await forEachItem(bulkItemsOf(data, "bulkGet"), async ({ key }) => {
      const bytes = await this.#get(key, metadata);
      return { data: Buffer.from(bytes).toString() };
    });
    return answer(results);
  }

  async #bulkCreate({ data, metadata }: BindingRequest): Promise<BindingReply> {
    const isBase64 = this.#flag(metadata, "decodeBase64");
    const results = await forEachItem(bulkItemsOf(data, "bulkCreate"), async (item: BulkItem) => {
      if (item.data === undefined) throw new Error("data is required");
      // As it is: the text stands in JSON already.
      const Body = isBase64 ? objectContent(Buffer.from(item.data), true) : Buffer.from(item.data);
      await this.#put({ Key: item.key, Body, ...(item.contentType && { ContentType: item.contentType }) });
      return { location: await this.#location(item.key) };
    });
    return answer(results);
  }

  /** A result for each key asked for, also when one comes twice. */
  async #bulkDelete(data: Uint8Array): Promise<BindingReply> {
    const { keys = [] } = Object(JSON.parse(Buffer.from(data).toString())) as { keys?: unknown };
    if (!Array.isArray(keys) || keys.length === 0) throw new Error("bulkDelete requires at least one key");
    const names = keys.map(String);
    const failures = new Map(
      names.filter((name) => name.trim() === "").map((name) => [name, "key is required"]),
    );
    const wanted = [...new Set(names)].filter((name) => !failures.has(name));
    for (let start = 0; start < wanted.length; start += deletesMax) {
      const some = wanted.slice(start, start + deletesMax);
      for (const [name, error] of await this.#deleteSome(some)) failures.set(name, error);
    }
    return answer(names.map((key) => ({ key, ...(failures.has(key) && { error: failures.get(key) }) })));
  }

  /** What could not be deleted, and why. */
  async #deleteSome(keys: string[]): Promise<[string, string][]> {
    const { DeleteObjectsCommand } = await import("@aws-sdk/client-s3");
    const Delete = { Objects: keys.map((Key) => ({ Key })), Quiet: true };
    const command = new DeleteObjectsCommand({ Bucket: this.#settings.bucket, Delete });
    try {
      const { Errors = [] } = await this.#link.ask((client, more) => client.send(command, more));
      return Errors.map(({ Key = "", Message = "unknown error" }) => [Key, Message]);
    } catch (error) {
      return keys.map((key) => [key, messageOf(error)]);
    }
  }

  async #signedUrl(key: string, metadata: Record<string, string>, isAsked: boolean): Promise<string> {
    const ttl = metadata.presignTTL || this.#settings.presignTTL;
    if (!ttl) {
      if (isAsked) throw new Error("required metadata 'presignTTL' missing");
      return "";
    }
    const expiresIn = secondsOf(ttl);
    const [{ GetObjectCommand }, { getSignedUrl }] = await Promise.all([
      import("@aws-sdk/client-s3"),
      import("@aws-sdk/s3-request-presigner"),
    ]);
    const command = new GetObjectCommand({ Bucket: this.#settings.bucket, Key: key });
    return getSignedUrl(this.#link.client, command, { expiresIn });
  }

  async #location(key: string): Promise<string> {
    const { endpoint, bucket, forcePathStyle } = this.#settings;
    const path = key.split("/").map(encodeURIComponent).join("/");
    if (endpoint) return `${endpoint.replace(/\/+$/, "")}/${bucket}/${path}`;
    const host = `s3.${await this.#link.region()}.amazonaws.com`;
    return forcePathStyle ? `https://${host}/${bucket}/${path}` : `https://${bucket}.${host}/${path}`;
  }

  /** The request's word counts before the component's. */
  #flag(metadata: Record<string, string>, name: "decodeBase64" | "encodeBase64"): boolean {
    return metadata[name] ? parseFlag(metadata[name]) : this.#settings[name];
  }
}

/** Never more than the limit, whatever the server says of the size. */
async function bytesOf(body: Readable, size = 0): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let read = 0;
  try {
    if (size > objectBytesMax) throw new Error(`the object has ${size} bytes, more than ${objectBytesMax}`);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      read += chunk.length;
      if (read > objectBytesMax) throw new Error(`the object has more than ${objectBytesMax} bytes`);
      chunks.push(chunk);
    }
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks, read);
}

function keyIn({ key }: Record<string, string>): string {
  if (!key) throw new Error("required metadata 'key' missing");
  return key;
}

/** `project=a,stage=b` as S3 has it. */
function tagsOf(tags: string): string {
  const pairs = tags.split(",").map((tag): [string, string] => {
    const [, name, value] = /^\s*([^=]*[^=\s])\s*=\s*(.*\S)\s*$/.exec(tag) ?? [];
    if (name === undefined || value === undefined)
      throw new Error(`invalid tag format: ${JSON.stringify(tag)} (expected key=value)`);
    return [name, value];
  });
  return new URLSearchParams(pairs).toString();
}

function listingOf(data: Uint8Array): { Marker: string; Prefix: string; Delimiter: string; MaxKeys: number } {
  const given: unknown = data.length === 0 ? {} : JSON.parse(Buffer.from(data).toString());
  const defaults = { marker: "", prefix: "", delimiter: "", maxResults: 0 };
  const { marker, prefix, delimiter, maxResults } = { ...defaults, ...Object(given) } as typeof defaults;
  if (![marker, prefix, delimiter].every((one) => typeof one === "string") || !Number.isInteger(maxResults))
    throw new Error("marker, prefix and delimiter are texts, and maxResults is a whole number");
  const MaxKeys = maxResults < 1 ? pageDefault : maxResults;
  return { Marker: marker, Prefix: prefix, Delimiter: delimiter, MaxKeys };
}

function secondsOf(ttl: string): number {
  let ms: number;
  try {
    ms = parseDuration(ttl);
  } catch (error) {
    throw new Error(`cannot parse duration ${JSON.stringify(ttl)} of presignTTL`, { cause: error });
  }
  if (ms >= 1_000 && ms <= presignMaxMs) return Math.trunc(ms / 1_000);
  throw new Error(`presignTTL must be from 1s to 7 days, got ${JSON.stringify(ttl)}`);
}

function answer(value: unknown): BindingReply {
  return { data: Buffer.from(JSON.stringify(value)) };
}
