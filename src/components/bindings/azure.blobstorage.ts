import { createHash } from "node:crypto";
import type { BlobItem, BlockBlobClient, ContainerClient } from "@azure/storage-blob";
import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { choice, flag, number, type Options, parseFlag, text } from "../../component/fields.ts";
import type { Edges } from "../../edges/edges.ts";
import { parseDuration } from "../../kit/duration.ts";
import { accountName, askAzure, azureStorageFields, serviceUrl, statusOf } from "../clients/azure-storage.ts";
import { objectContent } from "../clients/object-content.ts";

const fields = {
  ...azureStorageFields,
  connectionString: text({ description: "instead of accountName and accountKey", sensitive: true }),
  accountName: text(accountName),
  containerName: text({
    description: "the container; made when it is not there",
    aliases: ["container", "storageAccountContainer"],
    required: true,
  }),
  endpoint: text({
    description: "address before the account, as of the emulator: http://127.0.0.1:10000",
    aliases: ["storageEndpoint", "storageAccountEndpoint"],
  }),
  publicAccessLevel: choice(["none", "blob", "container"], {
    description: "what everybody may read of a container that is made",
    default: "none",
  }),
  decodeBase64: flag({ description: "what create gets is base64 of the blob", default: false }),
  retryCount: number({
    description: "more tries of an operation at most",
    aliases: ["getBlobRetryCount"],
    default: 3,
    min: 0,
    max: 100,
  }),
  disableEntityManagement: flag({ description: "the container is not made", default: false }),
};

export default component({
  type: "bindings.azure.blobstorage",
  version: "v1",
  status: "beta",
  summary: "Blobs of a container of Azure Storage",
  package: "@azure/storage-blob",
  metadata: fields,
  async open(options, { edges }): Promise<Binding> {
    const container = await containerOf(options);
    const binding = new BlobBinding(container, options, edges);
    if (!options.disableEntityManagement) await binding.make();
    return binding;
  },
});

type Settings = Options<typeof fields>;

async function containerOf(options: Settings): Promise<ContainerClient> {
  const { connectionString, accountName: account, accountKey, endpoint, containerName, retryCount } = options;
  const { BlobServiceClient, StorageSharedKeyCredential } = await import("@azure/storage-blob");
  const retries = { maxTries: retryCount + 1, retryDelayInMs: 100, maxRetryDelayInMs: 2_000 };
  const settings = { retryOptions: retries };
  if (connectionString)
    return BlobServiceClient.fromConnectionString(connectionString, settings).getContainerClient(
      containerName,
    );
  if (!account) throw new Error("missing or empty accountName field from metadata");
  if (!accountKey) throw new Error("accountKey or connectionString is missing");
  const url = serviceUrl("blob", account, endpoint);
  const credential = new StorageSharedKeyCredential(account, accountKey);
  return new BlobServiceClient(url, credential, settings).getContainerClient(containerName);
}

const blobBytesMax = 256 << 20;
const pageMax = 5_000;

class BlobBinding implements Binding {
  readonly operations = ["create", "get", "delete", "list", "presign"];
  readonly #container: ContainerClient;
  readonly #settings: Settings;
  readonly #edges: Edges;

  constructor(container: ContainerClient, settings: Settings, edges: Edges) {
    this.#container = container;
    this.#settings = settings;
    this.#edges = edges;
  }

  async make(): Promise<void> {
    const { publicAccessLevel } = this.#settings;
    const access = publicAccessLevel === "none" ? {} : { access: publicAccessLevel };
    await this.#ask(true, (abortSignal) => this.#container.createIfNotExists({ abortSignal, ...access }));
  }

  async invoke(request: BindingRequest): Promise<BindingReply | undefined> {
    switch (request.operation) {
      case "create":
        return this.#create(request);
      case "get":
        return this.#get(request.metadata);
      case "delete":
        return this.#delete(request.metadata);
      case "list":
        return this.#list(request.data);
      case "presign": {
        const presignURL = await this.#signedUrl(this.#blob(request.metadata), request.metadata.signTTL);
        return { data: jsonOf({ presignURL }) };
      }
      default:
        throw new Error(`unsupported operation ${request.operation}`);
    }
  }

  async close(): Promise<void> {}

  async #create({ metadata, data }: BindingRequest): Promise<BindingReply> {
    const { blobName: named, signTTL, ...rest } = metadata;
    const blobName = named || this.#edges.random.uuid();
    const blob = this.#container.getBlockBlobClient(blobName);
    const bytes = objectContent(data, this.#settings.decodeBase64);
    const { headers, metadata: kept } = propertiesOf(rest, bytes);
    // Before anything is written: what can not be signed leaves no blob behind.
    const presignURL = signTTL ? await this.#signedUrl(blob, signTTL) : undefined;
    await this.#ask(false, (abortSignal) =>
      blob.uploadData(bytes, { abortSignal, blobHTTPHeaders: headers, metadata: kept }),
    );
    const reply = { blobURL: blob.url, blobName, ...(presignURL !== undefined && { presignURL }) };
    return { data: jsonOf(reply), metadata: { blobName } };
  }

  async #get(metadata: Record<string, string>): Promise<BindingReply> {
    const blob = this.#blob(metadata);
    if (metadata.filePath) throw new Error("filePath is not known here: the answer is the blob");
    return this.#found(true, async (abortSignal) => {
      const {
        contentLength: size = 0,
        etag,
        metadata: kept = {},
      } = await blob.getProperties({ abortSignal });
      if (size > blobBytesMax) throw new Error(`the blob has ${size} bytes, more than ${blobBytesMax}`);
      const conditions = etag === undefined ? {} : { ifMatch: etag };
      const data =
        size === 0 ? new Uint8Array() : await blob.downloadToBuffer(0, size, { abortSignal, conditions });
      return { data, ...(parseFlag(metadata.includeMetadata ?? "") && { metadata: kept }) };
    });
  }

  async #delete(metadata: Record<string, string>): Promise<undefined> {
    const blob = this.#blob(metadata);
    const { deleteSnapshots = "" } = metadata;
    if (!["", "include", "only"].includes(deleteSnapshots))
      throw new Error(`invalid delete snapshot option type: ${deleteSnapshots}; allowed: [include only]`);
    const snapshots =
      deleteSnapshots === "" ? {} : { deleteSnapshots: deleteSnapshots as "include" | "only" };
    await this.#found(false, (abortSignal) => blob.delete({ abortSignal, ...snapshots }));
  }

  async #list(data: Uint8Array): Promise<BindingReply> {
    const { marker, prefix, maxResults, include = {} } = listingOf(data);
    const most = maxResults > 0 ? maxResults : pageMax;
    const items: BlobItem[] = [];
    let next = marker;
    let pages = 0;
    do {
      const page = await this.#ask(true, (abortSignal) =>
        this.#page(next, { most, prefix, include, abortSignal }),
      );
      pages++;
      items.push(...page.items);
      next = page.next;
    } while (next !== "" && items.length < most);
    return {
      data: jsonOf(items.map(goNames)),
      metadata: { marker: next, number: String(items.length), pagesTraversed: String(pages) },
    };
  }

  async #page(
    marker: string,
    { most, prefix, include, abortSignal }: PageRequest,
  ): Promise<{ items: BlobItem[]; next: string }> {
    const blobs = this.#container.listBlobsFlat({
      ...{ abortSignal, prefix },
      ...{ includeCopy: include.copy === true, includeMetadata: include.metadata === true },
      ...{ includeSnapshots: include.snapshots === true, includeDeleted: include.deleted === true },
      includeUncommitedBlobs: include.uncommittedBlobs === true,
    });
    const pages = blobs.byPage({
      maxPageSize: Math.min(most, pageMax),
      ...(marker && { continuationToken: marker }),
    });
    for await (const { segment, continuationToken = "" } of pages)
      return { items: segment.blobItems, next: continuationToken };
    return { items: [], next: "" };
  }

  #blob({ blobName }: Record<string, string>): BlockBlobClient {
    if (!blobName) throw new Error("blobName is a required attribute");
    return this.#container.getBlockBlobClient(blobName);
  }

  async #signedUrl(blob: BlockBlobClient, ttl: string | undefined): Promise<string> {
    if (!ttl) throw new Error("signTTL is a required attribute for presign operations");
    const { BlobSASPermissions } = await import("@azure/storage-blob");
    const expiresOn = new Date(this.#edges.clock.now() + msOf(ttl));
    return blob.generateSasUrl({ permissions: BlobSASPermissions.parse("r"), expiresOn });
  }

  async #found<T>(isRead: boolean, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await this.#ask(isRead, work);
    } catch (error) {
      if (statusOf(error) === 404) throw new Error("blob not found", { cause: error });
      throw error;
    }
  }

  #ask<T>(isRead: boolean, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const where = `container ${this.#container.containerName} at ${this.#container.accountName}`;
    return askAzure({
      ...{ clock: this.#edges.clock, timeoutMs: this.#settings.timeout, where, isRead },
      work,
    });
  }
}

interface Include {
  copy?: boolean;
  metadata?: boolean;
  snapshots?: boolean;
  uncommittedBlobs?: boolean;
  deleted?: boolean;
}
interface PageRequest {
  most: number;
  prefix: string;
  include: Include;
  abortSignal: AbortSignal;
}

function listingOf(data: Uint8Array): {
  marker: string;
  prefix: string;
  maxResults: number;
  include?: Include;
} {
  const nothing = { marker: "", prefix: "", maxResults: 0 };
  if (data.length === 0) return nothing;
  const value: unknown = JSON.parse(Buffer.from(data).toString());
  if (value === null) return nothing;
  if (typeof value !== "object" || Array.isArray(value))
    throw new Error("what is to be listed is no JSON object");
  const asked = { ...nothing, ...value };
  const isGood =
    typeof asked.marker === "string" &&
    typeof asked.prefix === "string" &&
    Number.isInteger(asked.maxResults);
  if (isGood) return asked;
  throw new Error("marker and prefix are texts, and maxResults is a whole number");
}

const headerNames: Record<string, string> = {
  contenttype: "blobContentType",
  contentencoding: "blobContentEncoding",
  contentlanguage: "blobContentLanguage",
  contentdisposition: "blobContentDisposition",
  cachecontrol: "blobCacheControl",
};
const ownNames = new Set(["traceparent", "tracestate", "baggage"]);

/** Some names are headers of the blob, the others its metadata: letters and digits, and ASCII. */
function propertiesOf(given: Record<string, string>, bytes: Buffer) {
  const headers: Record<string, string | Uint8Array> = {};
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    const lower = name.toLowerCase();
    const header = headerNames[lower];
    if (ownNames.has(lower)) continue;
    if (lower === "contentmd5" && value !== "") headers.blobContentMD5 = checkedMd5(value, bytes);
    else if (header !== undefined && value !== "") headers[header] = value;
    else metadata[name.replace(/[^A-Za-z0-9]/g, "")] = value.replace(/[^\t\x20-\x7e]/g, "");
  }
  return { headers, metadata };
}

function checkedMd5(value: string, bytes: Buffer): Uint8Array {
  const given = Buffer.from(value, "base64");
  if (given.length !== 16) {
    throw new Error(
      "the MD5 value specified in Content MD5 is invalid, MD5 value must be 128 bits and base64 encoded",
    );
  }
  if (createHash("md5").update(bytes).digest().equals(given)) return given;
  throw new Error("contentMD5 is not that of the data");
}

function msOf(ttl: string): number {
  let ms: number;
  try {
    ms = parseDuration(ttl);
  } catch (error) {
    throw new Error(`cannot parse signTTL duration ${JSON.stringify(ttl)}`, { cause: error });
  }
  if (ms > 0) return ms;
  throw new Error(`signTTL must be a positive duration, got ${JSON.stringify(ttl)}`);
}

/** As Dapr answers: names begin with a capital letter. */
function goNames(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(goNames);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, one]) => [
    goName(name),
    name === "metadata" ? one : goNames(one),
  ]);
  return Object.fromEntries(entries);
}

function goName(name: string): string {
  if (name === "etag") return "ETag";
  const capital = name.charAt(0).toUpperCase() + name.slice(1);
  return capital.replace(/Id$/, "ID");
}

function jsonOf(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
